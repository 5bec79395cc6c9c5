"""The same weights under the names of different code bases, as tables.

A table is a sequence of pairs (our name, their name or names). ``{i}`` stands for a
number, ``{p}`` for weight or bias, ``{name}`` for anything. Several names on the other
side are parts of one weight of ours, stacked along its first axis. Where several
pairs have the same left side, all are read and the first is written.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from mmaction.models.backbones.vit_mae import get_sinusoid_encoding
from torch import Tensor

Rule = tuple[str, tuple[str, ...]]

_FIELDS = {'i': r'\d+', 'p': 'weight|bias', 'name': '.+'}


def _rules(
    *pairs: tuple[str, str | tuple[str, ...]], ours: str = '', theirs: str = ''
) -> tuple[Rule, ...]:
    """Make rules of pairs, with a prefix before each side."""
    return tuple(
        (
            ours + left,
            tuple(theirs + n for n in ([right] if isinstance(right, str) else right)),
        )
        for left, right in pairs
    )


_RELEASED_BLOCK = _rules(
    ('norm1.{p}', 'norm1.{p}'),
    ('attn.q_bias', 'attn.q_bias'),
    ('attn.v_bias', 'attn.v_bias'),
    ('attn.qkv.weight', 'attn.qkv.weight'),
    ('attn.proj.{p}', 'attn.proj.{p}'),
    ('norm2.{p}', 'norm2.{p}'),
    ('mlp.layers.0.0.{p}', 'mlp.fc1.{p}'),
    ('mlp.layers.1.{p}', 'mlp.fc2.{p}'),
    ('gamma_1', 'gamma_1'),
    ('gamma_2', 'gamma_2'),
)
_SPATIOTEMPORAL_BLOCK = _rules(
    ('norm1.{p}', 'norm1.{p}'),
    ('attn.q_bias', 'attn.q.bias'),
    ('attn.v_bias', 'attn.v.bias'),
    ('attn.qkv.weight', ('attn.q.weight', 'attn.k.weight', 'attn.v.weight')),
    ('attn.proj.{p}', 'attn.proj.{p}'),
    ('norm2.{p}', 'norm2.{p}'),
    ('mlp.layers.0.0.{p}', 'mlp.fc1.{p}'),
    ('mlp.layers.1.{p}', 'mlp.fc2.{p}'),
)
_TRANSFORMERS_BLOCK = _rules(
    ('norm1.{p}', 'layernorm_before.{p}'),
    # So in files; the modules of transformers 5.23 say query.bias and value.bias.
    ('attn.q_bias', 'attention.attention.q_bias'),
    ('attn.v_bias', 'attention.attention.v_bias'),
    ('attn.q_bias', 'attention.attention.query.bias'),
    ('attn.v_bias', 'attention.attention.value.bias'),
    (
        'attn.qkv.weight',
        (
            'attention.attention.query.weight',
            'attention.attention.key.weight',
            'attention.attention.value.weight',
        ),
    ),
    ('attn.proj.{p}', 'attention.output.dense.{p}'),
    ('norm2.{p}', 'layernorm_after.{p}'),
    ('mlp.layers.0.0.{p}', 'intermediate.dense.{p}'),
    ('mlp.layers.1.{p}', 'output.dense.{p}'),
)
_RELEASED_ENCODER = (
    *_rules(
        ('patch_embed.projection.{p}', 'patch_embed.proj.{p}'),
        ('pos_embed', 'pos_embed'),  # only a learnable one is in their files
        ('norm.{p}', 'norm.{p}'),
    ),
    *_rules(*_RELEASED_BLOCK, ours='blocks.{i}.', theirs='blocks.{i}.'),
)
_TRANSFORMERS_ENCODER = (
    *_rules(
        ('patch_embed.projection.{p}', 'embeddings.patch_embeddings.projection.{p}'),
        ('norm.{p}', 'layernorm.{p}'),
    ),
    *_rules(*_TRANSFORMERS_BLOCK, ours='blocks.{i}.', theirs='encoder.layer.{i}.'),
)
_SEPARABLE = _rules(
    ('cls_token', 'cls_token'),
    ('pos_embed_class', 'pos_embed_class'),
    ('pos_embed_spatial', 'pos_embed_spatial'),
    ('pos_embed_temporal', 'pos_embed_temporal'),
)
_SPATIOTEMPORAL_ENCODER = (
    *_rules(
        *_SEPARABLE,
        ('patch_embed.projection.{p}', 'patch_embed.proj.{p}'),
        ('norm.{p}', 'norm.{p}'),
        ours='backbone.',
    ),
    *_rules(*_SPATIOTEMPORAL_BLOCK, ours='backbone.blocks.{i}.', theirs='blocks.{i}.'),
)
_SPATIOTEMPORAL_DECODER = (
    *_rules(*_SEPARABLE, ours='decoder.', theirs='decoder_'),
    *_rules(
        ('decoder.embed.{p}', 'decoder_embed.{p}'),
        ('decoder.mask_token', 'mask_token'),
        ('decoder.norm.{p}', 'decoder_norm.{p}'),
        ('decoder.head.{p}', 'decoder_pred.{p}'),
    ),
    *_rules(
        *_SPATIOTEMPORAL_BLOCK,
        ours='decoder.blocks.{i}.',
        theirs='decoder_blocks.{i}.',
    ),
)
_DECODER_ENDS = _rules(
    ('decoder.embed.weight', 'encoder_to_decoder.weight'),
    ('decoder.mask_token', 'mask_token'),
    ('decoder.norm.{p}', 'decoder.norm.{p}'),
    ('decoder.head.{p}', 'decoder.head.{p}'),
)
_OURS, _STOCK = (
    _rules(*((f'{part}.{{name}}', f'{part}.{{name}}') for part in parts))
    for parts in (
        ('backbone', 'sampler', 'decoder', 'cls_head'),
        ('backbone', 'cls_head'),
    )
)

# A bias of the keys adds to all logits of a query alike: softmax takes it away.
_KEY_BIASES = _rules(
    ('backbone.blocks.{i}.attn.q_bias', 'blocks.{i}.attn.k.bias'),
    ('decoder.blocks.{i}.attn.q_bias', 'decoder_blocks.{i}.attn.k.bias'),
)
_TABLE = 'backbone.pos_embed'
_NO_TABLE = {_TABLE: 'the fixed sin-cos table, which the other side makes itself'}
_NO_SAMPLER = {'sampler.': 'the other side has no learnt sampler'}
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
        tells (tuple[str, ...]): our names of weights that tell this kind of model.
        omits (dict[str, str]): our prefixes that have no place there, and why.
        idle (tuple[Rule, ...]): weights of theirs that change nothing: left out in
            reading, written as zeros of the shape of our weight on the left.
        bars (tuple[str, ...]): our names of weights that no such model has.
    """

    family: str
    title: str
    rules: tuple[Rule, ...]
    tells: tuple[str, ...]
    omits: dict[str, str] = field(default_factory=dict)
    idle: tuple[Rule, ...] = ()
    bars: tuple[str, ...] = ()

    def idle_in(self, names: Iterable[str]) -> list[str]:
        """Find the weights that change nothing.

        Args:
            names (Iterable[str]): their names of weights.

        Returns:
            list[str]: those of them that :meth:`read` leaves out.
        """
        return [
            name
            for name in names
            if any(_translate(name, right[0], '-') for _, right in self.idle)
        ]

    def holds(self, names: Iterable[str]) -> bool:
        """Tell whether a model is of this kind.

        Args:
            names (Iterable[str]): our names of its weights.

        Returns:
            bool: whether they tell so.
        """
        names = set(names)
        return names.issuperset(self.tells) and names.isdisjoint(self.bars)

    def read(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give weights our names.

        Args:
            weights (Mapping[str, Tensor]): weights under their names.

        Returns:
            dict[str, Tensor]: under ours; the same tensors but where parts are joined.

        Raises:
            ValueError: if a name is not in the table, a part is missing, or blocks are
                incomplete.
        """
        parts: dict[str, dict[int, Tensor]] = defaultdict(dict)
        totals, unknown = {}, []
        idle = set(self.idle_in(weights))
        for name, tensor in weights.items():
            if name in idle:
                continue
            hits = (
                (_translate(name, part, left), place, len(right))
                for left, right in self.rules
                for place, part in enumerate(right)
            )
            ours, place, total = next((hit for hit in hits if hit[0]), ('', 0, 0))
            if ours:
                parts[ours][place] = tensor
                totals[ours] = total
            else:
                unknown.append(name)
        if unknown:
            raise ValueError(f'{some(unknown)}: not in a {self.title}')
        halves = [name for name, found in parts.items() if len(found) < totals[name]]
        if halves:
            raise ValueError(f'{some(halves)}: a part is missing in this {self.title}')
        _check_blocks(parts)
        return {
            name: torch.cat([found[k] for k in sorted(found)])
            if len(found) > 1
            else found[0]
            for name, found in parts.items()
        }

    def write(
        self, weights: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Give weights their names.

        Args:
            weights (Mapping[str, Tensor]): weights under our names.

        Returns:
            tuple[dict[str, Tensor], dict[str, str]]: under theirs, and what was left
            out: our names and the reasons.

        Raises:
            ValueError: if a weight has no place there and cannot be left out.
        """
        theirs: dict[str, Tensor] = {}
        left_out, homeless = {}, []
        for name, tensor in weights.items():
            reason = next(
                (v for k, v in self.omits.items() if name.startswith(k)), None
            )
            if reason and (name != _TABLE or is_fixed_table(tensor)):
                left_out[name] = reason
                continue
            rule = next((r for r in self.rules if _translate(name, r[0], r[0])), None)
            if rule is None:
                homeless.append(name)
                continue
            left, right = rule
            pieces = tensor.chunk(len(right)) if len(right) > 1 else [tensor]
            for part, piece in zip(right, pieces, strict=True):
                theirs[_translate(name, left, part)] = piece
            for left, right in self.idle:
                if zero := _translate(name, left, right[0]):
                    theirs[zero] = torch.zeros_like(tensor)
        if homeless:
            raise ValueError(f'{some(homeless)}: no place for it in a {self.title}')
        return theirs, left_out


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
        bars=(_SPATIOTEMPORAL,),
    ),
    Format(
        'mmaction',
        "encoder for MMAction2's VisionTransformer",
        _STOCK,
        _ENCODER,
        _NO_PRETRAINING,
        bars=(_SPATIOTEMPORAL,),
    ),
    Format(
        'released',
        'pre-training checkpoint of the SpatiotemporalMAE authors',
        (*_SPATIOTEMPORAL_ENCODER, *_SPATIOTEMPORAL_DECODER),
        (*_PRETRAINING, _SPATIOTEMPORAL, 'decoder.pos_embed_spatial'),
        idle=_KEY_BIASES,
    ),
    Format(
        'released',
        'fine-tuning checkpoint of the SpatiotemporalMAE authors',
        (
            *_SPATIOTEMPORAL_ENCODER,
            *_rules(
                ('cls_head.fc_cls.{p}', 'head.{p}'),
                ('cls_head.fc_cls.{p}', 'head.projection.{p}'),  # of PySlowFast
            ),
        ),
        (*_CLASSIFIER, _SPATIOTEMPORAL),
        idle=_KEY_BIASES,
    ),
    Format(
        'released',
        'encoder of the SpatiotemporalMAE authors',
        _SPATIOTEMPORAL_ENCODER,
        (*_ENCODER, _SPATIOTEMPORAL),
        idle=_KEY_BIASES,
    ),
    Format(
        'released',
        'pre-training checkpoint of the AdaMAE or VideoMAE authors',
        (
            *_rules(
                ('sampler.pos_embed', 'encoder.pos_embed_probs'),
                ('sampler.head.{p}', 'encoder.get_token_probs.1.{p}'),
            ),
            *_rules(
                *_RELEASED_BLOCK,
                ours='sampler.blocks.0.',
                theirs='encoder.get_token_probs.0.',
            ),
            *_rules(*_RELEASED_ENCODER, ours='backbone.', theirs='encoder.'),
            *_rules(
                *_RELEASED_BLOCK,
                ours='decoder.blocks.{i}.',
                theirs='decoder.blocks.{i}.',
            ),
            *_DECODER_ENDS,
        ),
        _PRETRAINING,
        _NO_TABLE,
    ),
    Format(
        'released',
        'fine-tuning checkpoint of the AdaMAE or VideoMAE authors',
        (
            *_rules(*_RELEASED_ENCODER, ours='backbone.'),
            *_rules(
                ('backbone.fc_norm.{p}', 'fc_norm.{p}'),
                ('cls_head.fc_cls.{p}', 'head.{p}'),
            ),
        ),
        _CLASSIFIER,
        _NO_TABLE,
    ),
    Format(
        'transformers',
        'VideoMAEForPreTraining of transformers',
        (
            *_rules(*_TRANSFORMERS_ENCODER, ours='backbone.', theirs='videomae.'),
            *_rules(
                *_TRANSFORMERS_BLOCK,
                ours='decoder.blocks.{i}.',
                theirs='decoder.decoder_layers.{i}.',
            ),
            *_DECODER_ENDS,
        ),
        _PRETRAINING,
        _NO_TABLE | _NO_SAMPLER,
    ),
    Format(
        'transformers',
        'VideoMAEForVideoClassification of transformers',
        (
            *_rules(*_TRANSFORMERS_ENCODER, ours='backbone.', theirs='videomae.'),
            *_rules(
                ('backbone.fc_norm.{p}', 'fc_norm.{p}'),
                ('cls_head.fc_cls.{p}', 'classifier.{p}'),
            ),
        ),
        _CLASSIFIER,
        _NO_TABLE,
    ),
)
_HOLDERS = ('state_dict', 'model', 'module', 'model_state')
FAMILIES = tuple(dict.fromkeys(form.family for form in FORMATS))


def weights_in(content: Any) -> dict[str, Tensor]:
    """Find the weights in what a checkpoint file holds.

    Args:
        content (Any): a state dict, or a dict with one under ``state_dict``
            (MMEngine), ``model`` (the authors'), ``module`` (DeepSpeed) or
            ``model_state`` (PySlowFast).

    Returns:
        dict[str, Tensor]: the weights, under the names of the file.

    Raises:
        ValueError: if there are none.
    """
    if isinstance(content, dict):
        inside = [content.get(key) for key in _HOLDERS]
        for weights in (*inside, content):
            if (
                isinstance(weights, dict)
                and weights
                and all(isinstance(value, Tensor) for value in weights.values())
                and all(isinstance(name, str) for name in weights)
            ):
                return weights
        raise ValueError(f'no weights in it, only {some(map(str, content))}')
    raise ValueError(f'expected a dict of weights, got {type(content).__name__}')


def recognise(weights: Mapping[str, Tensor]) -> Format | None:
    """Tell by its names what a state dict is.

    Args:
        weights (Mapping[str, Tensor]): under any names.

    Returns:
        Format | None: its format; None if it is of no known one.
    """
    for form in FORMATS:
        found = {
            _translate(name, part, left)
            for name in weights
            for left, right in form.rules
            for part in right
        }
        if form.holds(found):
            return form
    return None


def to_ours(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of any known code base to this project's names.

    Args:
        weights (Mapping[str, Tensor]): weights under their names.

    Returns:
        dict[str, Tensor]: the same weights under ours.

    Raises:
        ValueError: if they are of no known format, or incomplete.
    """
    form = recognise(weights)
    if form is None:
        raise ValueError(
            f'not a checkpoint of a known kind ({len(weights)} weights: '
            f'{some(weights)}); expected a '
            + ', a '.join(dict.fromkeys(form.title for form in FORMATS))
        )
    return form.read(weights)


def find_format(family: str, weights: Mapping[str, Tensor]) -> Format:
    """Choose the format of a code base that weights can be written in.

    Args:
        family (str): one of ``FAMILIES``.
        weights (Mapping[str, Tensor]): under our names.

    Returns:
        Format: the first that holds such a model.

    Raises:
        ValueError: if there is none.
    """
    for form in FORMATS:
        if form.family == family and form.holds(weights):
            return form
    raise ValueError(
        f'{family} has no format for these weights ({some(weights)}): expected one of: '
        + '; '.join(form.title for form in FORMATS if form.family == family)
    )


def is_fixed_table(table: Tensor) -> bool:
    """Tell whether a position table is the fixed sin-cos one of its size.

    Args:
        table (Tensor): shape (1, N, D), float.

    Returns:
        bool: whether it can be made again from N and D.
    """
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


def _check_blocks(weights: Iterable[str]) -> None:
    """Refuse stacks of blocks with a gap."""
    stacks: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in weights:
        if match := re.fullmatch(r'(.+\.blocks)\.(\d+)\.(.+)', name):
            stacks[match[1]][int(match[2])].add(match[3])
    for stack, blocks in stacks.items():
        whole = set().union(*blocks.values())
        short = [str(i) for i in range(max(blocks) + 1) if blocks.get(i) != whole]
        if short:
            raise ValueError(
                f'{stack}: weights of block {", ".join(short)} are missing'
            )


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Find weights with NaN or infinite values.

    Args:
        weights (Mapping[str, Tensor]): under any names.

    Returns:
        list[str]: their names.
    """
    return [name for name, tensor in weights.items() if not tensor.isfinite().all()]


def some(names: Iterable[str], count: int = 3) -> str:
    """List a few names, for a message.

    Args:
        names (Iterable[str]): any number of them.
        count (int): how many to list. Defaults to 3.

    Returns:
        str: the first ones, and how many there are in all.
    """
    names = list(names)
    more = f', ... ({len(names)} in all)' if len(names) > count else ''
    return ', '.join(names[:count]) + more
