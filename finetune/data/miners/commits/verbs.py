"""Words that an imperative subject begins with."""

from __future__ import annotations

import re

# CommitPackFT's list (octopack, dataset/commitpackft), but for "plug", which its blank at the end lets nothing match.
COMMITPACKFT = frozenset(
    re.findall(
        r"\w+",
        """
    abort accelerate access accumulate add address adjust advance align allot allow amplify annotate append apply archive arrange
    attach augment automate backup boost break bring build bump call change check choose clarify clean clear clone comment complete
    compress concatenate configure connect consolidate convert copy correct cover create customize cut debug decipher declare
    decommission decomplexify decompress decrease decrypt define delete deploy designate destroy detach determine develop diminish
    disable discard disentangle dismantle divide document downgrade drop duplicate edit embed emphasize enable encrypt enforce
    enhance enlarge enumerate eradicate escalate establish exclude exit expand expedite expire extend facilitate fix format gather
    generalize halt handle hasten hide implement improve include increase increment indent index inflate initialize insert install
    integrate interpolate interrupt introduce isolate join kill leverage load magnify maintain make manage mark mask mend merge
    migrate modify monitor move multiply normalize optimize orchestrate order package paraphrase paste patch prepare prepend print
    provision purge put quit raise read reannotate rearrange rebase reboot rebuild recomment recompile reconfigure reconnect rectify
    redact redefine reduce refactor reformat refresh reimplement reinforce relocate remove rename reorder reorganize repackage
    repair rephrase replace reposition reschedule reset reshape resolve restructure return revert revise revoke reword rework
    rewrite rollback save scale scrub secure select send set settle simplify solve sort split stabilize standardize stipulate stop
    store streamline strengthen structure substitute subtract support swap switch synchronize tackle tag terminate test throw tidy
    transform transpose trim troubleshoot truncate tweak unblock uncover undo unify uninstall unplug unpublish unravel unstage
    unsync untangle unwind update upgrade use validate verify watch watermark whitelist withdraw work write
    """,
    )
)
PHRASES = ("brush up ", "deal with ", "speed up ")  # of the same list
# Other verbs that subjects of public repositories begin with.
MORE = frozenset(
    re.findall(
        r"\w+",
        """
    abstract accept activate adapt adopt alter amend anchor anticipate ask assemble assert assign assume avoid backport batch bind
    blacklist block broaden bundle bypass cache calculate cancel capture carry cast catch categorize centralise centralize chain
    chunk classify close coerce collapse collect combine compare compile compose compute condense confirm consider constrain
    construct consume count customise deal decode decorate decouple deduplicate default defer delay delegate demote deprecate derive
    describe detect disallow display distinguish distribute download dump echo elide eliminate emit emulate encapsulate encode
    enqueue enrich ensure enter erase escape evaluate execute expect explain export expose extract factor fail fall fetch fill
    filter finalize find finish fire flag flatten flip float flush fold follow force forward free freeze gate generalise generate
    get give group guarantee guard hardcode harden hash help highlight hoist honor honour hook identify ignore import impose
    incorporate infer inform inherit initialise initiate inject inline inspect instantiate instrument intercept interpret invalidate
    invert invoke keep label launch leave let lift limit linearize link list localize lock log look loosen lower mangle map match
    measure memoize mention minimize mirror mock modernize mount mute narrow negate nest normalise notify nudge obey obtain offer
    omit open opt optimise organize output overhaul overload override overwrite own pack pad page paginate parallelise parallelize
    parametrize parse partition pass pause peek perform permit persist pick pin pipe place plug point polish poll populate port
    postpone prefer prefix preserve prevent process produce prohibit promote prompt propagate protect provide prune publish pull
    push qualify query queue quote randomize rate reach readd reapply reassign recalculate reclaim recognize recompute record
    recover recreate redirect reenable refer reference refine reflect refuse register reinstate reintroduce reject relabel relax
    release reload rely render repeat repoint report represent repurpose request require rescue reserve resize respect restore
    restrict restyle resume retain rethrow retrieve retry reuse review rotate round route run sample sandbox sanitize scaffold scan
    schedule scope scroll search seed separate serialise serialize serve share ship shorten show shrink shuffle sign signal silence
    skip slice spawn specialise specialize specify speed spell splice stabilise stage start stash step stream strip stub style
    subscribe suggest sum summarise summarize supply suppress sync synchronise take target tell template tie tighten time toggle
    tolerate touch trace track train translate treat trigger try tune turn type typeset uncomment unmute unpack unquote unregister
    unroll unset unskip unsubscribe unwrap upload utilise utilize vectorize vendor view virtualize visit wait warn weaken widen wire
    wrap yield zero zip
    """,
    )
)
