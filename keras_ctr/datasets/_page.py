"""A `Description` as a table in a terminal, and as one HTML page that needs no other file."""

from html import escape

from keras_ctr.datasets._judging import LEAK

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6470; --line: #d9dee4;
  --paper: #fff; --card: #f6f8fa; --bar: #2f6fb5; --train: #8fa3b8; --test: #d2781e;
  --bad: #b42318; --mid: #8a5a00; --good: #1a7f4b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4b0; --line: #343b44;
  --paper: #12161b; --card: #1a2027; --bar: #6ba6e8; --train: #6f8296; --test: #e59a4d;
  --bad: #ff8a7a; --mid: #e5b454; --good: #5cc48d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 24px 20px 60px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 36px 0 10px; }
h3 { font-size: 16px; margin: 0; overflow-wrap: anywhere; }
p { margin: 4px 0; }
a { color: inherit; }
.soft { color: var(--soft); font-size: 13px; }
.facts { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 8px 14px; }
.facts b { display: block; font-size: 19px; }
.warnings { border-left: 4px solid var(--bad); background: var(--card); margin: 0;
  padding: 10px 14px 10px 32px; border-radius: 0 8px 8px 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th { font-size: 13px; color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper);
  text-align: left; max-width: 190px; overflow: hidden; text-overflow: ellipsis; }
th:nth-child(2), td:nth-child(2) { text-align: left; }
td svg { vertical-align: middle; margin-right: 6px; }
td b { display: inline-block; min-width: 50px; font-weight: inherit; }
.cards { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 14px; min-width: 0; }
.card svg { display: block; width: 100%; height: auto; margin-top: 8px; }
.high { color: var(--bad); font-weight: 600; }
.moderate { color: var(--mid); font-weight: 600; }
.low { color: var(--good); }
.key i { display: inline-block; width: 10px; height: 10px; border-radius: 2px;
  margin: 0 4px 0 10px; }
svg text { font: 11.5px system-ui, sans-serif; fill: var(--ink); }
svg .faint { fill: var(--soft); }
@media (max-width: 480px) { body { padding: 16px 12px 40px; }
  .cards { grid-template-columns: 1fr; } th:first-child, td:first-child { max-width: 110px; }
  th, td { padding: 5px 6px; } td svg, th:nth-child(2), td:nth-child(2) { display: none; }
  td b { min-width: 0; } }
"""
READING = (
    "The population stability index (PSI) is the sum over cells of (q − p) · ln(q / p), with p and "
    "q the shares of a cell in train and test. Usual reading: below 0.1 little drift, 0.1 to 0.25 "
    "moderate, above 0.25 a shift; here after taking off what rows drawn alike would show. Cells "
    "are ten quantile bins of train for quantities; for names each frequent token of the "
    "vocabulary, and all others as one; and missing values. AUC: how well the column alone tells "
    "the label on held-out rows; 0.5 is nothing, above 0.95 most likely a leak."
)
WIDTH, LABEL, RATE, GAP, SHARE, STEP = 340, 112, 56, 50, 62, 22  # of a plot, in its own units
HEADS = ("column", "kind", "missing", "distinct", "coverage", "unseen", "PSI", "AUC")
EXPLAINED = {
    "missing": "share of rows without a value",
    "distinct": "number of distinct values",
    "coverage": "share of the training values that have an id of their own",
    "unseen": "share of the values in test that have no id of their own",
    "PSI": "population stability index between train and test",
    "AUC": "of the column alone, on held-out rows",
}


def table(description):
    """Returns a `Description` as a `rich.table.Table`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = ", ".join(f"{name} {count:,}" for name, count in description.rows.items())
    rate = description.click_rate
    clicks = "no label" if rate is None else f"click rate {rate:.2%}"
    title = Text(f"{description.name}: {rows} rows; {clicks}")
    found = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for at, head in enumerate(HEADS):
        how = {"justify": "left" if at < 2 else "right", "no_wrap": at > 0}
        found.add_column(head, overflow="fold", **how)
    for column in description.columns:
        found.add_row(*map(Text, _cells(column)))
    return found


def page(description):
    """Returns a `Description` as the text of an HTML page."""
    rate = description.click_rate
    title = escape(description.name)
    facts = [(f"{count:,}", f"rows in {name}") for name, count in description.rows.items()]
    facts.append((str(len(description.columns)), "columns"))
    facts.append(("no label", "click rate") if rate is None else (f"{rate:.2%}", "click rate"))
    boxes = "".join(f"<div><b>{escape(b)}</b>{escape(text)}</div>" for b, text in facts)
    warnings = "".join(f"<li>{escape(text)}</li>" for text in description.warnings)
    warnings = f'<ul class="warnings">{warnings}</ul>' if warnings else "<p>Nothing.</p>"
    heads = "".join(f'<th title="{escape(EXPLAINED.get(h, h))}">{h}</th>' for h in HEADS)
    rows = "".join(_row(at, column) for at, column in enumerate(description.columns))
    rates = [v["click_rate"] or 0 for c in description.columns for v in c["values"]]
    scale = max(rates, default=0) or 1.0
    cards = "".join(_card(at, column, rate, scale) for at, column in enumerate(description.columns))
    keys = ("bar", "click rate"), ("train", "share in train"), ("test", "share in test")
    keys = keys if rate is not None else keys[1:]
    key = "".join(f'<i style="background: var(--{name})"></i>{text}' for name, text in keys)
    line = "; the thin line is the overall click rate" if rate is not None else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}: description</title><style>{STYLE}</style></head>\n<body>"
        f'<h1>{title}</h1><div class="facts">{boxes}</div>\n'
        f"<h2>What to look at first</h2>{warnings}\n"
        f'<h2>Columns</h2><div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>\n"
        f'<p class="soft">{escape(READING)}</p>\n'
        f'<h2>Values</h2><p class="soft key">{key}{line}</p><div class="cards">{cards}</div>\n'
        "</body></html>\n"
    )


def _cells(column):
    """The cells of a column's row, as text."""
    unseen = [share for share in column["unseen"].values() if share is not None]
    distinct = column["cardinality"]
    about = "" if column["exact"] else "~"
    return (
        column["name"],
        column["kind"],
        _percent(column["missing"]),
        "" if distinct is None else f"{about}{distinct:,}",
        _percent(column["coverage"]),
        _percent(unseen[-1]) if unseen else "",
        "" if column["psi"] is None else f"{column['psi']:.3f}",
        "" if column["auc"] is None else f"{column['auc']:.3f}",
    )


def _row(at, column):
    """A row of the table of columns."""
    cells = [escape(cell) for cell in _cells(column)]
    cells[0] = f'<a href="#c{at}">{cells[0]}</a>'
    for place, name, colour in ((2, "missing", "bad"), (4, "coverage", "good")):
        if column[name] is not None:
            cells[place] = f"{_meter(column[name], colour)}<b>{cells[place]}</b>"
    if column["drift"]:
        meter = _meter(min(max(column["psi"] / 0.5, 0), 1), "test")
        cells[6] = f'{meter}<b class="{column["drift"]}">{cells[6]}</b>'
    if column["auc"] is not None and column["auc"] > LEAK:
        cells[7] = f'<span class="high">{cells[7]}</span>'
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"


def _meter(share, colour):
    """A small bar."""
    return (
        '<svg width="48" height="8" aria-hidden="true">'
        '<rect width="48" height="8" rx="2" style="fill: var(--line)"/>'
        f'<rect width="{48 * share:.1f}" height="8" rx="2" style="fill: var(--{colour})"/></svg>'
    )


def _card(at, column, rate, scale):
    """What is shown of one column: facts in words, and its plot."""
    options = ", ".join(f"{name}={value!r}" for name, value in column["options"].items())
    lines = [column["kind"] + (f" ({options})" if options else "")]
    lines += [column["why"]] if column["why"] else []
    said = []
    if column["cardinality"] is not None:
        about = "" if column["exact"] else "about "
        said.append(f"{about}{column['cardinality']:,} distinct")
    if column["vocabulary"] is not None:
        said.append(f"{column['vocabulary']:,} in the vocabulary")
    if column["missing"]:
        said.append(f"{_percent(column['missing'])} missing")
    if column["drift"]:
        said.append(f"drift {column['drift']}")
    lines.append(", ".join(said))
    lines += [column["note"]] if column["note"] else []
    text = "".join(f'<p class="soft">{escape(line)}</p>' for line in lines if line)
    plot = _plot(column["values"], rate, scale) if column["values"] else ""
    head = f'<section class="card" id="c{at}"><h3>{escape(column["name"])}</h3>'
    return f"{head}{text}{plot}</section>\n"


def _plot(values, rate, scale):
    """Click rates and shares in train and test, one row per value or bin, as SVG."""
    height = STEP * len(values) + 16
    has_rate = rate is not None
    left = LABEL + (RATE + GAP if has_rate else 0)
    wide = SHARE if has_rate else WIDTH - LABEL - 56
    most = max(max(v["train"] or 0, v["test"] or 0) for v in values) or 1
    marks = [f'<text x="{left}" y="10" class="faint">share of rows</text>']
    if has_rate:
        marks.append(f'<text x="{LABEL}" y="10" class="faint">click rate</text>')
    for at, value in enumerate(values):
        y = 16 + STEP * at
        name = escape(_short(value["value"]))
        marks.append(
            f'<text x="0" y="{y + 13}">{name}<title>{escape(value["value"])}: '
            f"{value['rows']:,} rows</title></text>"
        )
        if value["click_rate"] is not None:
            size = RATE * value["click_rate"] / scale
            marks.append(_bar(LABEL, y + 3, size, 12, "bar"))
            text = _percent(value["click_rate"])
            marks.append(f'<text x="{LABEL + size + 4:.1f}" y="{y + 13}">{text}</text>')
        for name, place in (("train", 3), ("test", 10)):
            if value[name] is not None:
                marks.append(_bar(left, y + place, wide * value[name] / most, 6, name))
        longest = max(value["train"] or 0, value["test"] or 0)
        x = left + wide * longest / most + 4
        marks.append(f'<text x="{x:.1f}" y="{y + 13}">{_percent(value["share"])}</text>')
    if has_rate:
        x = LABEL + RATE * min(rate / scale, 1)
        marks.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="16" y2="{height}" '
            'style="stroke: var(--soft); stroke-dasharray: 2 3"/>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="click rate and share of rows '
        f'by value">{"".join(marks)}</svg>'
    )


def _bar(x, y, width, height, colour):
    return (
        f'<rect x="{x}" y="{y}" width="{max(width, 0.5):.1f}" height="{height}" rx="1.5" '
        f'style="fill: var(--{colour})"/>'
    )


def _short(text, most=16):
    """A text that fits beside a bar."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _percent(share):
    """A share as text; a small one keeps its digits."""
    if share is None:
        return ""
    return f"{share:.2%}" if 0 < share < 0.01 else f"{share:.1%}"
