"""The style sheet of all pages, and additions for the history page."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b2430; --dim: #5b6776; --line: #d9dfe7; --panel: #f5f7fa;
  --run: #2f6fdb; --copy: #0f8a7e; --export: #8250c8; --internal: #7d8a9a; --failed: #c62828; --path: #b45309; }
@media screen and (prefers-color-scheme: dark) {
  :root { --back: #11161d; --text: #e3e8ee; --dim: #9aa7b5; --line: #2d3743; --panel: #19212b;
    --run: #5b95f5; --copy: #2bb5a6; --export: #a982ea; --internal: #76859a; --failed: #f06a6a; --path: #f0a43c; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .6rem; }
p { margin: .4rem 0; max-width: 75ch; }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.dim { color: var(--dim); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .6rem; margin: 1rem 0 0; }
.facts > div { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .5rem .75rem; }
.facts dt { color: var(--dim); font-size: .85rem; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.facts small { display: block; font-weight: 400; color: var(--dim); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; padding: 0; margin: .5rem 0; list-style: none;
  font-size: .88rem; }
.legend i { display: inline-block; width: .85rem; height: .85rem; border-radius: 2px; vertical-align: -.1rem;
  margin-right: .35rem; }
.row { display: grid; grid-template-columns: minmax(9rem, 19rem) 1fr 4.2rem; gap: 0 .6rem; align-items: center;
  min-height: 1.7rem; }
.row .name { overflow: hidden; white-space: nowrap; text-overflow: ellipsis; font-size: .88rem; }
.row .much { text-align: right; font-variant-numeric: tabular-nums; font-size: .88rem; white-space: nowrap; }
.row.below .name { color: var(--dim); padding-left: 1.1rem; }
.track { position: relative; height: 1.7rem; border-left: 1px solid var(--line);
  background-image: repeating-linear-gradient(to right, transparent 0 calc(var(--tick) - 1px),
    var(--line) calc(var(--tick) - 1px) var(--tick)); }
.track.high { height: 3.6rem; } .track.tall { height: 6rem; }
.axis .track { background-image: none; border-left-color: transparent; height: 1.3rem; }
.axis span { position: absolute; transform: translateX(-50%); font-size: .78rem; color: var(--dim);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.axis span:first-child { transform: none; }
.bar { position: absolute; top: .32rem; height: 1.05rem; min-width: 2px; border-radius: 2px; }
.run { background: var(--run); } .copy { background: var(--copy); } .export { background: var(--export); }
.internal { background: var(--internal); } .failed { background: var(--failed); }
.pause { background: var(--run); opacity: .5; }
.path { box-shadow: 0 .22rem 0 var(--path); }
.mark { color: var(--path); font-weight: 700; }
svg { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
svg .area { fill: var(--run); opacity: .22; }
svg .edge { fill: none; stroke: var(--run); stroke-width: 1.6; vector-effect: non-scaling-stroke; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; max-height: 34rem; overflow-y: auto; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--run); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
caption { text-align: left; color: var(--dim); padding: .5rem .6rem; }
th, td { text-align: left; padding: .3rem .6rem; border-top: 1px solid var(--line); vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--panel); white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.step { min-width: 11rem; font-weight: 400; }
ol { padding-left: 1.4rem; } li { margin: .2rem 0; overflow-wrap: anywhere; }
.notes li { max-width: 75ch; }
@media (max-width: 640px) {
  main { padding: 1rem .75rem 2rem; }
  .facts { grid-template-columns: 1fr 1fr; }
  .row { grid-template-columns: 1fr auto; margin-bottom: .2rem; }
  .row .track { grid-column: 1 / -1; grid-row: 2; }
  .row.axis .name, .row.axis .much { display: none; }
  .axis span:nth-child(even) { display: none; }
  th.step { min-width: 8.5rem; }
}
@media print { * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .scroll { max-height: none; overflow: visible; } thead th { position: static; } }
"""

HISTORY = """
:root { --hit: #b9d0f4; --miss: #b45309; }
@media screen and (prefers-color-scheme: dark) { :root { --hit: #2f4f80; --miss: #f0a43c; } }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
a { color: var(--run); text-underline-offset: .15em; }
.plot { display: grid; grid-template-columns: 3.6rem minmax(0, 1fr); break-inside: avoid; margin: .25rem 0 0; }
.plot .unit { grid-column: 1 / -1; color: var(--dim); font-size: .78rem; padding-bottom: .55rem; }
.plot .ys { position: relative; }
.plot .ys span { position: absolute; right: .5rem; transform: translateY(50%); white-space: nowrap; }
.plot .ys span, .plot .xs span { font-size: .78rem; color: var(--dim); font-variant-numeric: tabular-nums; }
.plot .field { position: relative; height: 9.5rem; border-left: 1px solid var(--line); }
.plot.high .field { height: 19rem; }
.plot .xs { grid-column: 2; position: relative; height: 2.6rem; }
.plot .xs span { position: absolute; top: .3rem; transform: translateX(-50%); text-align: center; white-space: nowrap;
  line-height: 1.25; }
.plot .xs .start { transform: none; text-align: left; }
.plot .xs .end { transform: translateX(-100%); text-align: right; }
.plot .xs small { display: block; font-size: 1em; }
.plot + .scroll { margin-top: 1rem; }
.plot svg { overflow: visible; }
svg.defs { position: absolute; width: 0; height: 0; }
.legend svg { position: static; display: inline-block; width: 1.1rem; height: .85rem; vertical-align: -.1rem;
  margin-right: .35rem; overflow: visible; }
.legend .median { height: 0; border-top: 2px solid var(--dim); vertical-align: .25rem; border-radius: 0;
  width: 1.1rem; }
.grid { stroke: var(--line); }
.mark-quiet { fill: var(--back); stroke: var(--copy); stroke-width: 1.8; }
.mark-edit { fill: var(--run); } .mark-deps { fill: var(--export); } .mark-cold { fill: var(--path); }
.mark-failed { fill: none; stroke: var(--failed); stroke-width: 2.2; stroke-linecap: round; }
.mark-other { fill: var(--internal); }
.field a:hover use { opacity: 1; stroke: var(--text); stroke-width: 2; }
polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; vector-effect: non-scaling-stroke;
  pointer-events: none; }
.field use { opacity: .65; }
.line-quiet { stroke: var(--copy); } .line-edit { stroke: var(--run); } .line-deps { stroke: var(--export); }
.line-cold { stroke: var(--path); } .line-other { stroke: var(--internal); }
.hit { fill: var(--hit); background: var(--hit); } .miss { fill: var(--miss); background: var(--miss); }
.part, .hit, .miss { shape-rendering: crispEdges; }
.p0 { --c: var(--run); } .p1 { --c: var(--copy); } .p2 { --c: var(--export); } .p3 { --c: var(--path); }
.p4 { --c: var(--internal); } .p5 { --c: var(--failed); }
.s0 { --c: var(--run); } .s1 { --c: var(--copy); } .s2 { --c: var(--export); } .s3 { --c: var(--path); }
.s4 { --c: var(--internal); } .s5 { --c: var(--failed); }
.part, i[class^=p] { fill: var(--c); background: var(--c); }
.series { stroke: var(--c); stroke-width: 2; }
.s1 { stroke-dasharray: 7 3; } .s2 { stroke-dasharray: 2 3; } .s3 { stroke-dasharray: 9 3 2 3; }
.s4 { stroke-dasharray: 4 4; } .s5 { stroke-dasharray: 12 4; }
tr:has(:target) > * { background: color-mix(in srgb, var(--path) 22%, var(--back)); }
td code { display: inline-block; min-width: 12rem; }
.when { white-space: nowrap; }
td .bad { color: var(--failed); font-weight: 600; }
th.step { min-width: 3rem; } tbody tr, :target { scroll-margin-top: 3rem; }
@media (max-width: 640px) {
  .plot { grid-template-columns: 3.2rem minmax(0, 1fr); } .plot.high .field { height: 15rem; }
  [class^=mark-] { transform: scale(.75); }
  .plot .xs span:nth-child(even) { display: none; }
}
@media print { h2, h3, .legend { break-after: avoid; } td code { min-width: 0; } }
"""
