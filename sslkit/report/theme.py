"""The style sheet of the report: system fonts, light and dark by the reader's preference, fit for paper and for phones.

Text has a contrast of at least 4.5 to 1 on its ground in both themes, the lines of figures 3 to 1 (WCAG 2.2, AA).
"""

from __future__ import annotations

STYLE_SHEET = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f6f7f9; --ink: #1b1f24; --muted: #59636e; --rule: #dde1e6; --grid: #e3e6ea;
  --accent: #0063a0; --notice: #fff6dc; --notice-rule: #b98900; --alarm: #fdecea; --alarm-rule: #b3261e; --bar: #7fb8dc;
  --baseline: #6e7781; --series-0: #0072b2; --series-1: #d55e00; --series-2: #009e73;
  --series-3: #c0659c; --series-4: #b87d00; --series-5: #2f8fce; --heat: #0072b2; --edge: #1b1f2438;
  --ramp-0: #e56a5d; --ramp-1: #d5536f; --ramp-2: #c33d80; --ramp-3: #ad2793; --ramp-4: #9410a2;
  --ramp-5: #7701a8; --ramp-6: #5801a4; --ramp-7: #370499; --ramp-8: #0d0887;
  --shaded-ends:
    linear-gradient(90deg, var(--ground) 40%, transparent) 0 0 / 28px 100% no-repeat local,
    linear-gradient(270deg, var(--ground) 40%, transparent) 100% 0 / 28px 100% no-repeat local,
    linear-gradient(90deg, var(--edge), transparent) 0 0 / 10px 100% no-repeat scroll,
    linear-gradient(270deg, var(--edge), transparent) 100% 0 / 10px 100% no-repeat scroll;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --raised: #1c2026; --ink: #e6e9ed; --muted: #a3adb8; --rule: #30363d; --grid: #2a3037;
    --edge: #00000090; --accent: #6cb8ee; --notice: #2c2510; --notice-rule: #d9a514;
    --alarm: #331a18; --alarm-rule: #f0776c; --bar: #2b6a94;
    --baseline: #99a3ae; --series-0: #4ba3dd; --series-1: #ee7b30; --series-2: #2cbf97;
    --series-3: #d88cb8; --series-4: #efb03a; --series-5: #8fd0f7; --heat: #0072b2;
    --ramp-0: #b12a90; --ramp-1: #c5407e; --ramp-2: #d6556d; --ramp-3: #e66c5c; --ramp-4: #f2844b;
    --ramp-5: #fa9e3b; --ramp-6: #feba2c; --ramp-7: #fad824; --ramp-8: #f0f921;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header, footer, .with-links nav { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 40px; }
main:focus { outline: none; }
.skip { position: absolute; left: 8px; top: -80px; padding: 8px 16px; background: var(--ground); z-index: 3; }
.skip:focus { top: 8px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
h1, h2, h3 { line-height: 1.25; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: clamp(1.75rem, 5vw, 2.4rem); font-weight: 680; letter-spacing: -0.02em; margin: 0 0 8px; }
h2 { font-size: 1.4rem; font-weight: 650; letter-spacing: -0.01em; margin: 0 0 8px; }
h3 { font-size: 1.05rem; font-weight: 620; margin: 32px 0 8px; }
p { margin: 0 0 12px; max-width: 46rem; }
a { color: var(--accent); text-underline-offset: 0.2em; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px;
}
.eyebrow { color: var(--muted); font-size: 0.85rem; letter-spacing: 0.02em; margin: 0 0 8px; }
.lead { font-size: 1.1rem; color: var(--muted); margin-bottom: 20px; }
.note { color: var(--muted); font-size: 0.9rem; }
.statement { font-size: 1.05rem; line-height: 1.55; }
.verdicts { border-left: 4px solid var(--accent); padding: 2px 0 2px 16px; margin: 20px 0 12px; }
.verdicts p { font-size: 1.25rem; line-height: 1.4; font-weight: 620; max-width: 52rem; margin: 0; }
.whose { color: var(--muted); font-weight: 450; }
th.key { min-width: 9rem; } td.wrap { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
.verdicts p + p { margin-top: 10px; }
.outcomes { margin: -4px 0 16px; padding-left: 1.2em; max-width: 46rem; }
nav { font-size: 0.92rem; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 22px; list-style: none; margin: 24px 0 0; padding: 10px 0; }
nav ul { border-block: 1px solid var(--rule); white-space: nowrap; }
nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
@media screen and (min-width: 1240px) {
  .with-links { display: grid; grid-template-columns: 168px minmax(0, 1080px); justify-content: center; }
  .with-links > :not(.skip, nav) { grid-column: 2; width: 100%; }
  .with-links > nav { grid-column: 1; grid-row: 1 / span 3; padding: 0 0 0 12px; }
  .with-links > nav ul {
    position: sticky; top: 0; flex-flow: column; gap: 0; overflow: auto; max-height: 100vh;
    border: 0; margin: 0; padding: 44px 0 24px;
  }
  .with-links > nav a { display: block; padding: 5px 8px; border-radius: 4px; white-space: normal; }
  .with-links > nav a:hover { background: var(--raised); text-decoration: none; }
}
section { padding: 36px 0 8px; scroll-margin-top: 8px; }
section + section { border-top: 1px solid var(--rule); margin-top: 28px; }
.banner {
  background: var(--notice); border-left: 4px solid var(--notice-rule); border-radius: 4px;
  padding: 12px 16px; margin: 0 0 12px; overflow-wrap: anywhere;
}
.banner.alarm { background: var(--alarm); border-color: var(--alarm-rule); }
.banner > :last-child { margin-bottom: 0; } .banner p, .banner ul { max-width: none; margin: 0 0 6px; }
.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 18px 28px;
  margin: 28px 0 0;
}
.facts div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.facts dt { color: var(--muted); font-size: 0.85rem; }
.facts dd {
  margin: 0; font-size: 1.3rem; font-weight: 600;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
.scroll { overflow-x: auto; margin: 16px 0; position: relative; background: var(--shaded-ends); }
details .scroll { background: none; }
table { border-collapse: collapse; width: 100%; font-size: 0.94rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; } th:last-child, td:last-child { padding-right: 0; }
table.slim { width: auto; min-width: min(100%, 24rem); }
th { font-weight: 550; }
thead th { white-space: normal; }
thead tr > * { color: var(--muted); border-bottom: 1px solid var(--ink); vertical-align: bottom; }
th[scope="row"], th[scope="rowgroup"], .text { text-align: left; }
tbody th[scope="row"] { color: var(--muted); font-weight: 450; }
tbody tr + tr > * { border-top: 1px solid var(--rule); }
tbody + tbody tr:first-child > * { border-top: 1px solid var(--ink); }
th[scope="rowgroup"] { font-weight: 640; padding-top: 14px; white-space: normal; }
tr.main > td { font-weight: 680; color: var(--ink); }
tr.main > th[scope="row"] { color: var(--ink); font-weight: 600; }
.sub { display: block; font-size: 0.85em; font-weight: 450; color: var(--muted); }
.reference > tr > * { color: var(--muted); font-weight: 450; }
.verdict.benefit, .verdict.harm { font-weight: 650; padding: 1px 8px; border-radius: 9px; color: var(--ground); }
.verdict.benefit { background: var(--accent); } .verdict.harm { background: var(--alarm-rule); }
.verdict { color: var(--muted); print-color-adjust: exact; -webkit-print-color-adjust: exact; }
tr.quiet > * { color: var(--muted); font-size: 0.94em; }
.swatch {
  display: inline-block; width: 27px; height: 3px; vertical-align: middle; margin-right: 8px; background: currentColor;
  print-color-adjust: exact; -webkit-print-color-adjust: exact;
}
.swatch.dotted { height: 0; border-top: 2px dotted var(--muted); background: none; }
.swatch.dashed { background: repeating-linear-gradient(90deg, currentColor 0 7px, transparent 7px 10px); }
.legend {
  display: flex; flex-wrap: wrap; gap: 4px 24px; list-style: none;
  margin: 12px 0 4px; padding: 0; font-size: 0.92rem;
}
figure { margin: 28px 0 8px; } h2 + figure { margin-top: 12px; }
figcaption { font-size: 0.92rem; font-weight: 600; margin-bottom: 6px; overflow-wrap: anywhere; }
.chart { display: block; width: 100%; height: auto; overflow: visible; }
.chart * { stroke-linejoin: round; }
.narrow { display: none; }
.panels {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 24px 32px;
  margin-top: 8px;
}
.panels figure { margin: 8px 0; max-width: 400px; }
td.bar { width: 45%; min-width: 90px; }
td.bar span { display: block; height: 12px; border-radius: 2px; background: var(--bar); }
details { border: 1px solid var(--rule); border-radius: 6px; margin: 16px 0; background: var(--raised); }
summary { cursor: pointer; padding: 10px 16px; font-weight: 550; }
details.part { background: none; }
details::details-content { overflow: clip; }
details > :not(summary) { margin: 0 16px 14px; }
details > .scroll { margin: 0 16px 14px; max-height: 460px; overflow: auto; }
pre { margin: 0; font: 0.86rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; tab-size: 4; }
code { font: 0.9em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.pairs td { white-space: normal; overflow-wrap: anywhere; text-align: left; }
.pairs th[scope="row"] { width: 14rem; white-space: normal; }
ul.plain { margin: 0; padding-left: 1.2em; }
.sheet { margin: 16px 0 28px; }
.sheet details { border: 0; border-top: 1px solid var(--rule); border-radius: 0; margin: 0; background: none; }
.sheet summary { padding: 12px 0; } .sheet details > .note { margin: 0 0 14px; }
.strip { display: grid; grid-template-columns: 9rem minmax(0, 1fr); gap: 6px 20px; margin: 0 0 14px; }
.strip figcaption { font-weight: 500; padding-top: 2px; margin: 0; }
.strip figcaption span { display: block; color: var(--muted); font-size: 0.92em; font-weight: 400; }
.strip ul, .mistakes { list-style: none; margin: 0; padding: 0; display: grid; gap: 10px 12px; }
.strip ul { grid-template-columns: repeat(var(--columns), minmax(0, var(--side))); }
.strip li { min-width: 0; font-size: 0.82rem; color: var(--muted); overflow-wrap: anywhere; }
.sheet img, .mistakes img {
  display: block; width: 100%; height: auto; border-radius: 4px; background: var(--raised); margin-bottom: 3px;
}
img.pixels { image-rendering: pixelated; }
.mistakes {
  grid-template-columns: repeat(auto-fill, minmax(min(144px, calc(50% - 6px)), 1fr)); gap: 22px 16px; margin: 20px 0;
}
.mistakes li { min-width: 0; max-width: 200px; font-size: 0.86rem; line-height: 1.4; overflow-wrap: anywhere; }
.mistakes strong { display: block; font-weight: 600; margin-top: 5px; }
.mistakes span { display: block; color: var(--muted); }
footer { color: var(--muted); font-size: 0.88rem; padding-block: 40px 56px; }
@media (max-width: 640px) {
  main, header, footer, .with-links nav { padding-left: 16px; padding-right: 16px; } header { padding-top: 28px; }
  nav ul { flex-wrap: nowrap; overflow-x: auto; background: var(--shaded-ends); }
  .wide { display: none; } .narrow { display: block; }
  section { padding-top: 32px; } section + section { margin-top: 24px; }
  th, td { padding: 6px 3px; } table { font-size: 0.78rem; }
  .verdict.benefit, .verdict.harm { padding: 1px 5px; }
  tbody th[scope="row"] { white-space: normal; position: sticky; left: 0; background: var(--ground); }
  .statement { font-size: 1rem; } .verdicts p { font-size: 1.1rem; } .pairs th[scope="row"] { width: 8rem; }
  .facts { grid-template-columns: repeat(auto-fit, minmax(100px, 1fr)); gap: 14px; } .facts dd { font-size: 1.1rem; }
  tbody .swatch { width: 18px; margin-right: 5px; }
  .strip { grid-template-columns: minmax(0, 1fr); } .strip figcaption span { display: inline; }
  .strip ul { grid-template-columns: repeat(min(4, var(--columns)), minmax(0, 1fr)); gap: 8px; }
}
@media print {
  @page { margin: 16mm; }
  :root { color-scheme: light; }
  body { font-size: 10.5pt; } nav, .skip { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
  main, header, footer { max-width: none; padding-left: 0; padding-right: 0; }
  .wide { display: block; } .narrow { display: none; }
  .scroll, details > .scroll { overflow: visible; max-height: none; background: none; }
  figure, tr, .banner { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .panels { grid-template-columns: repeat(3, 1fr); gap: 12px 18px; }
  .banner, td.bar span { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .strip, .mistakes li { break-inside: avoid; } .mistakes { grid-template-columns: repeat(5, minmax(0, 1fr)); }
  pre { white-space: pre-wrap; }
}
"""
