"""Tables that an earlier deploysim wrote, in today's columns: what they do not have is null, and
replies of before there were steps have none."""

import polars as pl

from deploysim_assets.schema import TABLES


def as_today(asset: str, frame: pl.LazyFrame) -> pl.LazyFrame:
    """An older main table of an asset with every column of today's schema; its own others stay."""
    today = TABLES.get(asset)
    if today is None:
        return frame
    held = frame.collect_schema()
    columns = [
        _as(pl.col(name), held[name], dtype).alias(name)
        if name in held
        else pl.lit(None, dtype).alias(name)
        for name, dtype in today.items()
    ]
    return frame.select(*columns, *(pl.col(name) for name in held if name not in today))


def _as(value: pl.Expr, held: pl.DataType, today: pl.DataType) -> pl.Expr:
    if held == today:
        return value
    if isinstance(held, pl.List) and isinstance(today, pl.List):
        return value.list.eval(_as(pl.element(), held.inner, today.inner))  # pyright: ignore[reportArgumentType]
    if isinstance(held, pl.Struct) and isinstance(today, pl.Struct):
        known = {field.name: field.dtype for field in held.fields}
        fields = [
            _as(value.struct.field(f.name), known[f.name], f.dtype).alias(f.name)  # pyright: ignore[reportArgumentType]
            if f.name in known
            else _missing(f).alias(f.name)
            for f in today.fields
        ]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    if isinstance(today, pl.Enum):
        return value.cast(pl.String).cast(today)
    return value.cast(today)


def _missing(field: pl.Field) -> pl.Expr:
    return pl.lit([] if field.name == "steps" else None, field.dtype)  # pyright: ignore[reportArgumentType]
