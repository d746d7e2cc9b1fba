"""What the run was made from: data, versions, plugins, hardware, times and configuration."""

from __future__ import annotations

from sslkit.report.markup import Markup, element, join
from sslkit.report.sections.table import column, head, pairs_table, scroll, table
from sslkit.report.tables import Run
from sslkit.report.text import commit, count, duration, moment, plural


def data_section(run: Run) -> Markup:
    """Return counts of images, labels and classes, and what is wrong with any."""
    data = run.info.get("data", {})
    pairs = [(name, count(data[name])) for name in ("images", "labelled", "groups") if data.get(name) is not None]
    if data.get("hash"):
        pairs.append(("content hash", str(data["hash"])))
    if data.get("splits_hash"):
        pairs.append(("splits.json, SHA-256", str(data["splits_hash"])))
    parts = [pairs_table(pairs, "Images and hashes")] if pairs else []
    if counts := data.get("class_counts"):
        parts.append(_class_counts(run.class_names, [int(c) for c in counts]))
    if missing := run.info.get("missing_classes", []):
        items = element("ul", *(element("li", sentence) for sentence in missing), class_="plain")
        parts.append(
            element(
                "div", element("p", element("strong", "Classes that some training set lacks")), items, class_="banner"
            )
        )
    if unreadable := data.get("unreadable", []):
        items = element(
            "ul",
            *(
                element("li", element("code", image.get("id", "")), ": ", image.get("reason", ""))
                for image in unreadable
            ),
        )
        parts.append(
            element(
                "details",
                element("summary", f"{plural(len(unreadable), 'image')} could not be read and was left out"),
                items,
            )
            if len(unreadable) == 1
            else element(
                "details", element("summary", f"{len(unreadable):,} images could not be read and were left out"), items
            )
        )
    return join(parts)


def provenance_section(run: Run) -> Markup:
    """Return versions, plugins, hardware, times and the whole configuration."""
    info = run.info
    pairs = [("seed", str(info["seed"]))] if "seed" in info else []
    pairs += [(name, moment(str(info[name]))) for name in ("started", "finished") if info.get(name)]
    if git := info.get("git"):
        pairs.append(("git commit", commit(git)))
    pairs += [(f"{name} version", str(version)) for name, version in info.get("versions", {}).items()]
    pairs += [(str(name).replace("_", " "), str(value)) for name, value in info.get("hardware", {}).items()]
    parts = [pairs_table(pairs, "Versions and hardware")]
    if plugins := info.get("plugins", []):
        names = ("kind", "name", "distribution", "version")
        rows = (
            element("tr", *(element("td", plugin.get(name, ""), class_="text") for name in names)) for plugin in plugins
        )
        shown = table("Plugins", head(*(column(name, "text") for name in names)), element("tbody", *rows))
        parts += [element("h3", "Plugins"), shown]
    if timings := info.get("timings", {}):
        times = [(str(name), duration(float(seconds))) for name, seconds in timings.items()]
        parts += [element("h3", "Times"), pairs_table(times, "Times")]
    return join([*parts, _config(run.config)])


def _class_counts(names: list[str], counts: list[int]) -> Markup:
    most, total = max([*counts, 1]), sum(counts) or 1
    rows = [
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", count(value)),
            element("td", f"{100 * value / total:.1f} %"),
            element("td", element("span", style=f"width: {100 * value / most:.1f}%"), class_="bar", aria_hidden="true"),
        )
        for name, value in zip(names, counts, strict=False)
    ]
    titles = head(column("class", "text"), column("images"), column("share"), element("td", aria_hidden="true"))
    return table("Labelled images by class", titles, element("tbody", *rows))


def _config(text: str | None) -> Markup:
    if text is None:
        return element(
            "p", "The run directory has no config.toml, so that the configuration cannot be shown.", class_="note"
        )
    box = scroll(element("pre", element("code", text)), label="Configuration")
    return element("details", element("summary", "Configuration (config.toml)"), box)
