"""The same weights under the names of different code bases, as tables.

A table is a sequence of rules (our name, their name or names). ``{i}`` stands for a
number, ``{p}`` for weight or bias, ``{name}`` for anything. Several names on the other
side are parts of one weight of ours, stacked along its first axis. Where several
rules have the same name of ours, all are read and the first is written.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cache

import torch
from mmaction.models.backbones.vit_mae import get_sinusoid_encoding
from torch import Tensor

from ..utils.text import printable
from .architecture import Weights

Rule = tuple[str, ...]

_FIELDS = {'i': r'\d+', 'p': 'weight|bias', 'name': '.+'}


def _rules(
    *rules: str | Rule, ours: str = '', theirs: str = '', both: str = ''
) -> tuple[Rule, ...]:
    """Put prefixes before the two sides of rules; one name alone is that of both."""
    pairs = ((rule, rule) if isinstance(rule, str) else rule for rule in rules)
    return tuple(
        (ours + both + left, *(theirs + both + name for name in right))
        for left, *right in pairs
    )


_TIMM_BLOCK = (
    'norm1.{p}',
    'attn.proj.{p}',
    'norm2.{p}',
    ('mlp.layers.0.0.{p}', 'mlp.fc1.{p}'),
    ('mlp.layers.1.{p}', 'mlp.fc2.{p}'),
)
_RELEASED_BLOCK = (
    *_TIMM_BLOCK,
    *('attn.q_bias', 'attn.v_bias', 'attn.qkv.weight', 'gamma_1', 'gamma_2'),
)
_SPATIOTEMPORAL_BLOCK = (
    *_TIMM_BLOCK,
    ('attn.q_bias', 'attn.q.bias'),
    ('attn.v_bias', 'attn.v.bias'),
    ('attn.qkv.weight', 'attn.q.weight', 'attn.k.weight', 'attn.v.weight'),
)
_TRANSFORMERS_BLOCK = (
    ('norm1.{p}', 'layernorm_before.{p}'),
    ('attn.q_bias', 'attention.attention.q_bias'),
    ('attn.v_bias', 'attention.attention.v_bias'),
    (
        'attn.qkv.weight',
        'attention.attention.query.weight',
        'attention.attention.key.weight',
        'attention.attention.value.weight',
    ),
    ('attn.proj.{p}', 'attention.output.dense.{p}'),
    ('norm2.{p}', 'layernorm_after.{p}'),
    ('mlp.layers.0.0.{p}', 'intermediate.dense.{p}'),
    ('mlp.layers.1.{p}', 'output.dense.{p}'),
)
_RELEASED_ENCODER = _rules(
    ('patch_embed.projection.{p}', 'patch_embed.proj.{p}'),
    'pos_embed',  # only a learnable one is in their files
    'norm.{p}',
    *_rules(*_RELEASED_BLOCK, both='blocks.{i}.'),
)
_TRANSFORMERS_ENCODER = _rules(
    ('patch_embed.projection.{p}', 'embeddings.patch_embeddings.projection.{p}'),
    ('norm.{p}', 'layernorm.{p}'),
    *_rules(*_TRANSFORMERS_BLOCK, ours='blocks.{i}.', theirs='encoder.layer.{i}.'),
    ours='backbone.',
    theirs='videomae.',
)
_SEPARABLE = ('cls_token', 'pos_embed_class', 'pos_embed_spatial', 'pos_embed_temporal')
_SPATIOTEMPORAL_ENCODER = _rules(
    *_SEPARABLE,
    ('patch_embed.projection.{p}', 'patch_embed.proj.{p}'),
    'norm.{p}',
    *_rules(*_SPATIOTEMPORAL_BLOCK, both='blocks.{i}.'),
    ours='backbone.',
)
_SPATIOTEMPORAL_DECODER = _rules(
    *_rules(*_SEPARABLE, theirs='decoder_'),
    ('embed.{p}', 'decoder_embed.{p}'),
    'mask_token',
    ('norm.{p}', 'decoder_norm.{p}'),
    ('head.{p}', 'decoder_pred.{p}'),
    *_rules(*_SPATIOTEMPORAL_BLOCK, ours='blocks.{i}.', theirs='decoder_blocks.{i}.'),
    ours='decoder.',
)
_DECODER_ENDS = (
    ('decoder.embed.weight', 'encoder_to_decoder.weight'),
    ('decoder.mask_token', 'mask_token'),
    *_rules('norm.{p}', 'head.{p}', both='decoder.'),
)
_RELEASED_DECODER = (
    *_rules(*_RELEASED_BLOCK, both='decoder.blocks.{i}.'),
    *_DECODER_ENDS,
)
_TRANSFORMERS_DECODER = (
    *_rules(
        *_TRANSFORMERS_BLOCK,
        ours='decoder.blocks.{i}.',
        theirs='decoder.decoder_layers.{i}.',
    ),
    *_DECODER_ENDS,
)
_STOCK = _rules('backbone.{name}', 'cls_head.{name}')
_OURS = (*_STOCK, *_rules('sampler.{name}', 'decoder.{name}'))

_KEY_BIASES = (
    ('backbone.blocks.{i}.attn.q_bias', 'blocks.{i}.attn.k.bias'),
    ('decoder.blocks.{i}.attn.q_bias', 'decoder_blocks.{i}.attn.k.bias'),
)
_TRANSFORMERS_STACKS = (
    ('backbone.blocks.{i}.', 'videomae.encoder.layer.{i}.attention.attention.'),
    ('decoder.blocks.{i}.', 'decoder.decoder_layers.{i}.attention.attention.'),
)
# Some releases have these names in their files (5.12 to 5.16 were seen to), 5.18 and
# later in their modules only; 4.57 does not know them.
_TRANSFORMERS_BIASES = tuple(
    rule
    for ours, theirs in _TRANSFORMERS_STACKS
    for rule in _rules(
        ('attn.q_bias', 'query.bias'),
        ('attn.v_bias', 'value.bias'),
        ours=ours,
        theirs=theirs,
    )
)
_TRANSFORMERS_KEY_BIASES = tuple(
    ('', f'{theirs}key.bias') for _, theirs in _TRANSFORMERS_STACKS
)
_NO_OP = (
    'biases of attention keys: they add the same to all logits of a query, which '
    'softmax takes away, so the model computes the same'
)
_TABLE = 'backbone.pos_embed'
_NO_TABLE = {_TABLE: 'the fixed sin-cos table, which the other side makes itself'}
_NO_SAMPLER = {'sampler.': 'the other side has no learned sampler'}
_NO_PRETRAINING = dict.fromkeys(
    ('sampler.', 'decoder.'), 'MMAction2 has no masked pre-training'
)
# The names that only MMAction2's ViT has, of all its transformers.
_ENCODER = (
    'backbone.patch_embed.projection.weight',
    'backbone.blocks.0.mlp.layers.0.0.weight',
)
_PRETRAINING = (*_ENCODER, 'decoder.head.weight')
_CLASSIFIER = (*_ENCODER, 'cls_head.fc_cls.weight')
_SPATIOTEMPORAL = 'backbone.pos_embed_spatial'


@dataclass
class Format:
    """How a code base names the weights of one kind of model.

    Attributes:
        family (str): the code base, as ``tools/convert_checkpoint.py --to`` spells it.
        title (str): what it is, for people.
        rules (tuple[Rule, ...]): the table of names.
        required_keys (tuple[str, ...]): our names of weights that every such model has.
        forbidden_keys (tuple[str, ...]): our names of weights that no such model has.
        dropped_prefixes (dict[str, str]): our prefixes of weights that have no place
            there and are skipped in writing, and why.
        no_op_weights (tuple[Rule, ...]): weights of theirs that change nothing: skipped
            in reading, written as zeros of the shape of our weight on the left, or not
            at all where that is empty.
        second_names (tuple[Rule, ...]): further names of some weights, in other
            releases of the code base: read, and written in addition.
    """

    family: str
    title: str
    rules: tuple[Rule, ...]
    required_keys: tuple[str, ...]
    forbidden_keys: tuple[str, ...] = ()
    dropped_prefixes: dict[str, str] = field(default_factory=dict)
    no_op_weights: tuple[Rule, ...] = ()
    second_names: tuple[Rule, ...] = ()

    def matches(self, names: Collection[str]) -> bool:
        """Tell by our names of its weights whether a model is of this kind."""
        required, forbidden = set(self.required_keys), set(self.forbidden_keys)
        return required.issubset(names) and forbidden.isdisjoint(names)

    def is_no_op(self, name: str) -> bool:
        """Tell whether a weight of theirs changes nothing."""
        return any(_translate(name, theirs, '-') for _, theirs in self.no_op_weights)

    def find(self, name: str) -> tuple[str, int, int] | None:
        """Find our name of a weight, which part of ours it is, and of how many."""
        for ours, *theirs in (*self.rules, *self.second_names):
            for place, part in enumerate(theirs):
                if found := _translate(name, part, ours):
                    return found, place, len(theirs)
        return None

    def read(self, weights: Weights) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Give weights our names; where several are one of ours, they are joined.

        Returns:
            tuple[dict[str, Tensor], dict[str, str]]: the weights, and what was skipped:
            their names and the reasons.

        Raises:
            ValueError: if a name is not in the table, a part is missing or does not fit
                the others, two names of one weight differ, or blocks are incomplete.
        """
        parts: dict[str, dict[int, Tensor]] = defaultdict(dict)
        totals, skipped, unknown = {}, {}, []
        for name, tensor in weights.items():
            if self.is_no_op(name):
                skipped[name] = _NO_OP
            elif found := self.find(name):
                ours, place, totals[ours] = found
                known = parts[ours].setdefault(place, tensor)
                if known is not tensor and not torch.equal(known, tensor):
                    raise ValueError(
                        f'{name}: expected the values that it has under its other '
                        f'name in a {self.title}, got others'
                    )
            else:
                unknown.append(name)
        if unknown:
            raise ValueError(f'{abbreviate(unknown)}: not in a {self.title}')
        incomplete = [n for n, found in parts.items() if len(found) < totals[n]]
        if incomplete:
            raise ValueError(
                f'{abbreviate(incomplete)}: a part is missing in this {self.title}'
            )
        _check_blocks(parts)
        return {name: _join(name, found) for name, found in parts.items()}, skipped

    def write(self, weights: Weights) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Give weights of ours their names.

        Returns:
            tuple[dict[str, Tensor], dict[str, str]]: the weights, and what was skipped:
            our names and the reasons.

        Raises:
            ValueError: if a weight has no place there and cannot be skipped.
        """
        theirs: dict[str, Tensor] = {}
        skipped, unmapped = {}, []
        for name, tensor in weights.items():
            drop = [k for k in self.dropped_prefixes if name.startswith(k)]
            if drop and (name != _TABLE or is_fixed_table(tensor)):
                skipped[name] = self.dropped_prefixes[drop[0]]
                continue
            rule = next((r for r in self.rules if _translate(name, r[0], r[0])), None)
            if rule is None:
                unmapped.append(name)
                continue
            left, *right = rule
            pieces = tensor.chunk(len(right)) if len(right) > 1 else [tensor]
            for part, piece in zip(right, pieces, strict=True):
                theirs[_translate(name, left, part)] = piece
            for left, part in self.second_names:
                if second := _translate(name, left, part):
                    theirs[second] = tensor.clone()  # safetensors shares no memory
            for left, part in self.no_op_weights:
                if zero := _translate(name, left, part):
                    theirs[zero] = torch.zeros_like(tensor)
        if unmapped:
            names = abbreviate(unmapped)
            raise ValueError(f'{names}: no place for it in a {self.title}')
        return theirs, skipped


FORMATS = (
    Format('ours', 'pre-training checkpoint of this project', _OURS, _PRETRAINING),
    Format(
        'ours',
        "classifier of this project or of MMAction2's VideoMAE",
        _STOCK,
        _CLASSIFIER,
    ),
    Format(
        'ours',
        'encoder of SpatiotemporalMAE in this project',
        _STOCK,
        (*_ENCODER, _SPATIOTEMPORAL),
    ),
    Format(
        'mmaction',
        "classifier of MMAction2's VideoMAE",
        _STOCK,
        _CLASSIFIER,
        forbidden_keys=(_SPATIOTEMPORAL,),
    ),
    Format(
        'mmaction',
        "encoder for MMAction2's VisionTransformer",
        _STOCK,
        _ENCODER,
        forbidden_keys=(_SPATIOTEMPORAL,),
        dropped_prefixes=_NO_PRETRAINING,
    ),
    Format(
        'released',
        'pre-training checkpoint of the SpatiotemporalMAE authors',
        (*_SPATIOTEMPORAL_ENCODER, *_SPATIOTEMPORAL_DECODER),
        (*_PRETRAINING, _SPATIOTEMPORAL, 'decoder.pos_embed_spatial'),
        no_op_weights=_KEY_BIASES,
    ),
    Format(
        'released',
        'fine-tuning checkpoint of the SpatiotemporalMAE authors',
        (
            *_SPATIOTEMPORAL_ENCODER,
            ('cls_head.fc_cls.{p}', 'head.{p}'),
            ('cls_head.fc_cls.{p}', 'head.projection.{p}'),  # of PySlowFast
        ),
        (*_CLASSIFIER, _SPATIOTEMPORAL),
        no_op_weights=_KEY_BIASES,
    ),
    Format(
        'released',
        'encoder of the SpatiotemporalMAE authors',
        _SPATIOTEMPORAL_ENCODER,
        (*_ENCODER, _SPATIOTEMPORAL),
        no_op_weights=_KEY_BIASES,
    ),
    Format(
        'released',
        'pre-training checkpoint of the AdaMAE or VideoMAE authors',
        (
            ('sampler.pos_embed', 'encoder.pos_embed_probs'),
            ('sampler.head.{p}', 'encoder.get_token_probs.1.{p}'),
            *_rules(
                *_RELEASED_BLOCK,
                ours='sampler.blocks.0.',
                theirs='encoder.get_token_probs.0.',
            ),
            *_rules(*_RELEASED_ENCODER, ours='backbone.', theirs='encoder.'),
            *_RELEASED_DECODER,
        ),
        _PRETRAINING,
        dropped_prefixes=_NO_TABLE,
    ),
    Format(
        'released',
        'fine-tuning checkpoint of the AdaMAE or VideoMAE authors',
        (
            *_rules(*_RELEASED_ENCODER, ours='backbone.'),
            ('backbone.fc_norm.{p}', 'fc_norm.{p}'),
            ('cls_head.fc_cls.{p}', 'head.{p}'),
        ),
        _CLASSIFIER,
        dropped_prefixes=_NO_TABLE,
    ),
    Format(
        'transformers',
        'VideoMAEForPreTraining of transformers',
        (
            *_TRANSFORMERS_ENCODER,
            *_TRANSFORMERS_DECODER,
        ),
        _PRETRAINING,
        dropped_prefixes=_NO_TABLE | _NO_SAMPLER,
        no_op_weights=_TRANSFORMERS_KEY_BIASES,
        second_names=_TRANSFORMERS_BIASES,
    ),
    Format(
        'transformers',
        'VideoMAEForVideoClassification of transformers',
        (
            *_TRANSFORMERS_ENCODER,
            ('backbone.fc_norm.{p}', 'fc_norm.{p}'),
            ('cls_head.fc_cls.{p}', 'classifier.{p}'),
        ),
        _CLASSIFIER,
        dropped_prefixes=_NO_TABLE,
        no_op_weights=_TRANSFORMERS_KEY_BIASES,
        second_names=_TRANSFORMERS_BIASES,
    ),
)
FAMILIES = tuple(dict.fromkeys(form.family for form in FORMATS))


def recognize(weights: Weights) -> Format:
    """Tell the format of weights by their names.

    Raises:
        ValueError: if it is no known one.
    """
    for form in FORMATS:
        if form.matches([hit[0] for name in weights if (hit := form.find(name))]):
            return form
    raise ValueError(
        f'not a checkpoint of a known kind ({len(weights)} weights: '
        f'{abbreviate(weights)}); expected a '
        + ', a '.join(dict.fromkeys(form.title for form in FORMATS))
    )


def to_ours(weights: Weights) -> dict[str, Tensor]:
    """Rename the weights of any known code base to this project's names.

    Args:
        weights (Mapping[str, Tensor]): weights under their names.

    Returns:
        dict[str, Tensor]: the same weights under ours.

    Raises:
        ValueError: if they are of no known format, or incomplete.
    """
    return recognize(weights).read(weights)[0]


def find_format(family: str, weights: Weights) -> Format:
    """Choose the first format of a code base that weights of ours can be written in.

    Raises:
        ValueError: if there is none.
    """
    forms = [form for form in FORMATS if form.family == family]
    for form in forms:
        if form.matches(weights):
            return form
    raise ValueError(
        f'{family} has no format for these weights ({abbreviate(weights)}): expected '
        f'one of: {"; ".join(form.title for form in forms)}'
    )


def is_fixed_table(table: Tensor) -> bool:
    """Tell whether a position table (1, N, D) is the fixed sin-cos one of its size."""
    fixed = get_sinusoid_encoding(*table.shape[1:])
    return torch.allclose(table.float().cpu(), fixed, rtol=0, atol=1e-6)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template)
    return re.compile(
        re.sub(r'\\\{(\w+)\\\}', lambda m: f'(?P<{m[1]}>{_FIELDS[m[1]]})', escaped)
    )


def _translate(name: str, source: str, target: str) -> str:
    """Rename, or return an empty name if ``source`` does not match."""
    match = _pattern(source).fullmatch(name)
    return target.format(**match.groupdict()) if match else ''


def _join(name: str, parts: dict[int, Tensor]) -> Tensor:
    """Stack the parts of a weight along its first axis."""
    if len(parts) == 1:
        return parts[0]
    try:
        return torch.cat([parts[place] for place in sorted(parts)])
    except RuntimeError as error:
        raise ValueError(f'{name}: its parts do not fit each other: {error}') from None


def _check_blocks(weights: Iterable[str]) -> None:
    """Reject stacks of blocks with a gap."""
    stacks: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in weights:
        if match := re.fullmatch(r'(.+\.blocks)\.(\d+)\.(.+)', name):
            stacks[match[1]][int(match[2])].add(match[3])
    for stack, blocks in stacks.items():
        whole = set().union(*blocks.values())
        gaps = [str(i) for i in range(len(blocks)) if blocks.get(i) != whole]
        if gaps:
            raise ValueError(f'{stack}: weights of block {", ".join(gaps)} are missing')


def not_finite(weights: Weights) -> list[str]:
    """List the weights that have NaN or infinite values."""
    return [name for name, tensor in weights.items() if not tensor.isfinite().all()]


def abbreviate(names: Iterable[str], count: int = 3) -> str:
    """List the first names, and tell how many there are in all."""
    names = [*map(printable, names)]
    more = f', ... ({len(names)} in all)' if len(names) > count else ''
    return ', '.join(names[:count]) + more
