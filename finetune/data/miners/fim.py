from finetune.data.miners import MINERS, Miner


@MINERS.register("fim")
class Fim(Miner):
    """Fill in the middle."""

    rate: float = 0.9
    spm_rate: float = 0.5
