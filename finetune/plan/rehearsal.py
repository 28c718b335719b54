"""One training step as `train` does it, on fake tensors: the model's own loss under autocast, backward, clipping, optimizer.

Shapes: B rows, T tokens. Nothing is computed; every storage and every product is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from accelerate.utils import convert_to_fp32
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from finetune.base import BaseFolder
from finetune.kernels import Rehearsed, kernels, learnt_logits
from finetune.methods import linear_layers
from finetune.plan.bits import bnb
from finetune.plan.counter import Counter, Part, Stage, Timeline
from finetune.plan.limits import Device, formats, spread
from finetune.plan.rules import GpuAutocast
from finetune.plan.stand_in import Faker, depth, on_meta, tensors_of
from finetune.quiet import known_warnings_off, quiet_libraries
from finetune.recipe import Recipe, TrainSection

FIRST = 16  # tokens of the pass before the first step


class Rehearsal:
    """A model on fake tensors, ready to take steps; `layers`: so many of its blocks, None for all."""

    def __init__(self, base: BaseFolder, recipe: Recipe, device: Device, *, layers: int | None = None) -> None:
        quiet_libraries()
        self.section, self.packing = recipe.train, recipe.data.packing
        self.device = device
        self._window = base.sliding_window
        self.formats = formats(recipe.model, device)
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        with known_warnings_off():
            self.model = on_meta(base, recipe, self.formats, layers=layers)
        self.counter = Counter()
        with self._within():
            Faker().model(self.model)
            prepare(self.model, self.section, gpu=device.gpu)
            # Quantised layers bring their biases into the number format of the first input, for good.
            with torch.no_grad(), self._kernels(beyond_window=False):
                self._loss(_batch(1, FIRST, packing=self.packing))
            self._trained = [weight for weight in self.model.parameters() if weight.requires_grad]
            self._optimizer = optimizer_for(self.model, self.section, gpu=device.gpu)
            take_stock(self.model, self.counter)
            watch(self.model, self.counter)
            with self.counter:
                take_optimizer_state(self._trained, self._optimizer, self.counter)

    def step(self, rows: int, row_length: int, *, beyond_window: bool | None = None) -> Timeline:
        """What one optimizer step of B rows of T tokens holds, allocation by allocation.

        `beyond_window`: the rows stand for longer ones, which reach beyond the model's window or do not; None: as their own length says.
        """
        if beyond_window is None:
            beyond_window = self._window is not None and row_length > self._window
        with self._within(), self.counter:
            if self.section.accumulation > 1:  # from the second pass on, gradients are there from the start
                for weight in self._trained:
                    weight.grad = torch.zeros_like(weight)
                self.counter.keep((weight.grad for weight in self._trained), Part.GRADIENTS)
            found = self.counter.timeline = Timeline()
            self._pass(_batch(rows, row_length, packing=self.packing), beyond_window=beyond_window)
            flops = self.counter.timeline.flops
            update(self._trained, self._optimizer, self.counter, limit=self.section.max_grad_norm)
        self.counter.timeline = Timeline()  # for whatever is counted until the next step
        found.flops = flops  # of one pass over B rows
        return found

    def _pass(self, batch: dict[str, Tensor], *, beyond_window: bool) -> None:
        self.counter.part, self.counter.stage = Part.ACTIVATIONS, Stage.FORWARD
        with self._kernels(beyond_window=beyond_window):
            loss = self._loss(batch)
            del batch
            self.counter.stage = Stage.BACKWARD  # what the loss allocates on its way back is the loss's
            loss.backward()

    def _kernels(self, *, beyond_window: bool) -> AbstractContextManager[None]:
        if spread():
            return learnt_logits(self.model, all_learnt=True)
        rehearsed = Rehearsed(beyond_window, gpu=self.device.gpu)
        cpu, half = not self.device.gpu, self.formats.products is not None
        return kernels(self.model, cpu=cpu, half=half, checkpointing=self.section.gradient_checkpointing, rehearsed=rehearsed)

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        """The model's own loss, computed as accelerate computes it: under autocast, the outputs then in float32."""
        if self.formats.products is None:
            output = self._output(batch)
        else:
            with torch.autocast("cpu", self.formats.products):
                output = self._output(batch)
            output = convert_to_fp32(output)
        loss: Tensor = output["loss"]
        return loss

    def _output(self, batch: dict[str, Tensor]) -> Any:
        with GpuAutocast() if self.device.gpu else nullcontext():
            return self.model(**batch)

    @contextmanager
    def _within(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(known_warnings_off())
            stack.enter_context(self._mode)
            yield


def prepare(model: nn.Module, section: TrainSection, *, gpu: bool) -> None:
    """Training mode, with blocks recomputed in the backward pass if the recipe says so: what transformers' Trainer does."""
    model.train()
    if section.gradient_checkpointing:
        enable: Any = model.activation_checkpointing_enable
        contexts = {"context_fn": lambda: (nullcontext(), GpuAutocast())} if gpu else {}
        enable(activation_checkpointing_kwargs={"use_reentrant": False, **contexts})


def optimizer_for(model: nn.Module, section: TrainSection, *, gpu: bool) -> torch.optim.Optimizer:
    """The recipe's optimizer. Pages are counted as if they lay on the GPU: there they are until it is full."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if section.optimizer == "adamw":
        return torch.optim.AdamW(trained, lr=section.learning_rate, foreach=gpu)
    with unset_fake_temporarily():  # its tables are real numbers
        made: Any = bnb.optim.AdamW8bit(trained, lr=section.learning_rate)
    made.mng = object.__new__(bnb.optim.GlobalOptimManager)  # one of its own: the global one would keep this model for ever
    made.mng.initialize()
    for module in model.modules():
        if isinstance(module, nn.Embedding):  # transformers keeps their moments in 32 bits
            made.mng.register_module_override(module, "weight", {"optim_bits": 32})
    optimizer: torch.optim.Optimizer = made
    return optimizer


def watch(model: nn.Module, counter: Counter) -> None:
    """Tells the counter where in the model a pass is: after the last block is the loss, before the first block's gradient is the end."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.register_post_accumulate_grad_hook(lambda each: counter.keep([each.grad], Part.GRADIENTS))
    found = blocks(model)
    found[-1].register_forward_hook(_at_gradient(counter, Part.BACKWARD, Stage.BACKWARD, after=Part.LOSS))
    found[0].register_forward_hook(_at_gradient(counter, Part.BACKWARD, Stage.BACKWARD_END, after=None))


def _at_gradient(counter: Counter, part: Part, stage: Stage, *, after: Part | None) -> Any:
    """A hook for a block's output: `after` names what follows it forward, part and stage what follows its gradient backward."""

    def back(_: Tensor) -> None:
        counter.part, counter.stage = part, stage

    def hook(_: nn.Module, __: object, output: Any) -> None:
        if counter.stage is not Stage.FORWARD:
            return  # computed again in the backward pass
        tensor = output if isinstance(output, Tensor) else output[0]
        if tensor.requires_grad:
            tensor.register_hook(back)
        if after is not None:
            counter.part = after

    return hook


def blocks(model: nn.Module) -> nn.ModuleList:
    """The model's blocks in order: of its lists of as many modules as the configuration counts, the one with the most weights."""
    number = depth(model.config)
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == number]
    return max(lists, key=lambda each: sum(weight.numel() for weight in each.parameters()))


def _batch(rows: int, row_length: int, *, packing: bool) -> dict[str, Tensor]:
    """What `collate` makes of packed rows, or of rows of one sample, and the number of learnt tokens, by which the model divides."""
    names = ("input_ids", "labels", "position_ids") if packing else ("input_ids", "labels")
    batch = {name: torch.zeros(rows, row_length, dtype=torch.long) for name in names}
    return batch | {"num_items_in_batch": torch.tensor(rows * row_length)}


def update(trained: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer, counter: Counter, *, limit: float) -> None:
    """Clipping and the optimizer's step."""
    counter.part, counter.stage = Part.UPDATE, Stage.UPDATE
    nn.utils.clip_grad_norm_(trained, limit)
    optimizer.step()
    optimizer.zero_grad()


def take_optimizer_state(trained: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer, counter: Counter) -> None:
    """A step without a forward pass, so that the moments are there: they are from the second step of a training on."""
    for weight in trained:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    optimizer.zero_grad()
    states = chain.from_iterable(state.values() for state in optimizer.state.values())
    counter.keep((value for value in states if isinstance(value, Tensor)), Part.OPTIMIZER)


def take_stock(model: nn.Module, counter: Counter) -> None:
    """Counts what a model holds before its first step: what trains, the frozen linear layers of its blocks, the rest."""
    counter.keep((weight for weight in model.parameters() if weight.requires_grad), Part.ADAPTER)
    frozen = {module for _, layer, _ in linear_layers(model) for module in layer.modules()}
    for module in model.modules():
        part = Part.LINEAR if module in frozen else Part.REST
        counter.keep((tensor for tensor in tensors_of(module) if not tensor.requires_grad), part)
