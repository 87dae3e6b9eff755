// Figures by Vega-Lite. Their specifications are in the page, without colours: those are the theme's.

import { DARK, LIGHT } from './themes.js';

const dark = matchMedia('(prefers-color-scheme: dark)');
const NARROW = 520;
const CELL = 46;
const BESIDE = 260; // a legend and labels
const MARGIN = 50; // between panels
const PANEL = 270; // the narrowest one beside another
const PAPER = 640; // pixels across on paper, whatever the screen has
const CELL_OF_MATRIX = 26;
const MATRIX = 430; // all cells of one of two maps beside each other
const LABELS = 125; // the tokens left of them
const TITLE = 140; // a title beside a small one
const SIDE = 60; // numbers and the title left of an axis
const NAMES = 150; // names and the title left of an axis
const APART = 8; // between two names
const WIDEST = 120; // a line of a name left of an axis, on a phone
const LINE = 13; // of such a name
const MOST_SHAPES = 4000; // above it pixels are faster

/** The specification of a figure: its text in the page, or the address that it is read from. */
const source = (element) => element.dataset.from ?? document.getElementById(element.dataset.figure)?.textContent;

async function read(element) {
  if (!element.dataset.from) return JSON.parse(source(element));
  const answer = await fetch(element.dataset.from, { headers: { Accept: 'application/json' } });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.title);
  return found;
}

const pen = document.createElement('canvas').getContext('2d');

/** A text in lines of at most so many pixels, which end after a space or a mark between two words. */
function inLines(text, room) {
  const lines = [];
  for (const word of text.split(/(?<=[ _/-])/)) {
    const longer = (lines.at(-1) ?? '') + word;
    if (lines.length && wide(longer.trimEnd()) <= room) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.map((line) => line.trimEnd()).join('\n');
}

const wide = (text) => pen.measureText(text).width;

/** An axis with room for its title, and, where it has names, for each of them. */
function withRoom(axis, room, names) {
  const found = axis.title ? { ...axis, title: inLines(axis.title, room) } : axis;
  if (!names.length) return found;
  const lines = Object.fromEntries(names.map((name) => [name, inLines(name, room / names.length - APART)]));
  return { ...found, labelExpr: `${quoted(lines)}[datum.value]` };
}

/** JSON in the language of expressions, in which two more characters end a line. */
const quoted = (value) => JSON.stringify(value).replace(/[\u2028\u2029]/g, (one) => `\\u${one.codePointAt(0).toString(16)}`);

/** The names left of a chart's rows, in lines for a phone; null without any. */
function namesOf(chart, rows) {
  const { y } = chart.encoding ?? {};
  if (!chart.height?.step || !y?.axis || y.axis.labelOverlap || !rows.length) return null;
  const known = y.axis.labelExpr ? JSON.parse(y.axis.labelExpr.replace(/\[datum\.value\]$/, '')) : {};
  const values = [...new Set(rows.map((row) => row[y.field]))];
  return Object.fromEntries(values.map((value) => [value, inLines(String(known[value] ?? value), WIDEST)]));
}

/** A chart with these names, in rows that are high enough for their lines. */
function withNames(chart, names) {
  const counts = Object.fromEntries(Object.entries(names).map(([value, name]) => [value, name.split('\n').length]));
  const most = Math.max(...Object.values(counts));
  // The first of several lines is where a single one would be.
  const offset = Array.from({ length: most - 1 }, (_, more) => (
    { test: `${quoted(counts)}[datum.value] === ${more + 2}`, value: -(LINE * (more + 1)) / 2 }
  ));
  const labels = { labelExpr: `${quoted(names)}[datum.value]`, labelLimit: WIDEST };
  if (offset.length) labels.labelOffset = { condition: offset, value: 0 };
  const { y } = chart.encoding;
  return {
    ...chart,
    height: { step: Math.max(chart.height.step, most * LINE + APART) },
    encoding: { ...chart.encoding, y: { ...y, axis: { ...y.axis, ...labels } } },
  };
}

/** A part of a specification of these rows whose axes have room for so many pixels of text. */
function withTexts(part, room, rows) {
  if (part === null || typeof part !== 'object') return part;
  if (Array.isArray(part)) return part.map((one) => withTexts(one, room, rows));
  const found = {};
  for (const [name, value] of Object.entries(part)) {
    const below = name === 'x' && value?.axis?.labelAngle === 0 && !value.axis.labelOverlap;
    const names = below ? [...new Set(rows.map((row) => row[value.field]))] : [];
    found[name] = room[name] && value?.axis
      ? { ...value, axis: withRoom(value.axis, room[name], names) }
      : name === 'data' ? value : withTexts(value, room, rows);
  }
  return found;
}

/** Panels side by side where there is room for them; Vega-Lite fits no panels by itself. */
function panelled(spec, width, config) {
  const names = width < NARROW ? namesOf(spec.spec, spec.data.values) : null;
  const inner = names ? withNames(spec.spec, names) : spec.spec;
  const left = names ? Math.max(...Object.values(names).flatMap((name) => name.split('\n')).map(wide)) : 0;
  const room = width - (left || (width < NARROW ? MARGIN : BESIDE));
  const columns = Math.min(spec.facet.sort.length, Math.max(1, Math.floor(room / PANEL)));
  const across = Math.max(120, room / columns - MARGIN);
  const heads = inner.width?.step && new Set(spec.data.values.map((row) => row.head)).size;
  const each = heads ? Math.min(across, heads * inner.width.step) : across;
  const plot = withTexts(inner, { x: each, y: inner.height }, spec.data.values);
  return { ...spec, columns, spec: { ...plot, width: each }, config };
}

/** Two maps side by side, or below each other on a phone; cells stay small. */
function beside(spec, width, config) {
  const { hconcat, ...rest } = spec;
  const cells = new Set(spec.data.values.map((row) => row.query)).size;
  const across = width >= 2 * (LABELS + PANEL / 2);
  const each = across ? (width - spec.spacing) / 2 - LABELS : width - LABELS;
  const size = Math.min(MATRIX, CELL_OF_MATRIX * cells, Math.max(120, each));
  const titles = { x: Math.max(size, TITLE), y: Math.max(size, TITLE) };
  const maps = hconcat.map((map) => ({ ...withTexts(map, titles, []), width: size, height: size }));
  return { ...rest, [across ? 'hconcat' : 'vconcat']: maps, config: { axis: config.axis } };
}

/** The specification as wide as its place; cells of a grid stay small. */
function fitted(given, width) {
  const narrow = width < NARROW;
  const names = narrow ? namesOf(given, given.data.values) : null;
  const spec = names ? withNames(given, names) : given;
  const count = ({ field }) => new Set(spec.data.values.map((row) => row[field])).size;
  const grid = spec.width?.step ? count(spec.encoding.x) * CELL : Infinity;
  const fits = grid + BESIDE < width;
  const step = spec.height?.step;
  // Legends stand below each other: side by side, the second leaves a telephone's screen.
  const below = { orient: 'bottom', direction: 'horizontal', columns: 2, layout: { bottom: { direction: 'vertical' } } };
  const legend = narrow ? below : {};
  const config = { legend, axis: narrow ? { labelLimit: 110 } : {} };
  if (spec.hconcat) return beside(spec, width, config);
  if (spec.facet) return panelled(spec, width, config);
  const height = step ? step * count(spec.encoding.y) : spec.height;
  return {
    ...withTexts(spec, { x: fits ? grid : width - (step ? NAMES : SIDE), y: height }, spec.data.values),
    width: fits ? grid : Math.max(160, width),
    height,
    autosize: spec.autosize ?? (fits ? 'pad' : { type: 'fit-x', contains: 'padding' }),
    config,
  };
}

/** Draw into `host`; policy: no code made of text (`ast`), no style elements. */
async function embed(host, spec, theme, width) {
  await import('./vega.js');
  const font = getComputedStyle(document.body).fontFamily;
  pen.font = `${theme.axis.titleFontSize}px ${font}`;
  return window.vegaEmbed(host, fitted(spec, width), {
    ast: true,
    actions: false,
    defaultStyle: false,
    renderer: spec.data.values.length > MOST_SHAPES ? 'canvas' : 'svg',
    logLevel: 1,
    tooltip: showTooltip,
    config: { ...theme, background: 'transparent', font, lineBreak: '\n' },
  });
}

let tip;

function showTooltip(_handler, event, _item, value) {
  tip ??= document.body.appendChild(Object.assign(document.createElement('div'), { className: 'tooltip', hidden: true }));
  tip.hidden = !value;
  if (!value) return;
  const list = document.createElement('dl');
  for (const [name, text] of Object.entries(value)) {
    if (text === null || text === 'null') continue;
    const term = Object.assign(document.createElement('dt'), { textContent: name });
    list.append(term, Object.assign(document.createElement('dd'), { textContent: text }));
  }
  tip.replaceChildren(list);
  const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  const below = event.clientY + 14 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${below ? event.clientY + 14 : event.clientY - 14 - tip.offsetHeight}px`;
}

const drawn = new WeakMap();
const specifications = new WeakMap();
const box = (className) => Object.assign(document.createElement('div'), { className });

async function draw(element) {
  drawn.set(element, source(element));
  const screen = box('for-screen');
  try {
    const spec = await read(element);
    specifications.set(element, spec);
    // Beside the old picture until it is there, so that nothing moves.
    const width = element.clientWidth;
    const { view } = await embed(screen, spec, dark.matches ? DARK : LIGHT, width);
    view.addEventListener('click', (_event, item) => item?.datum?.href && location.assign(item.datum.href));
    element.classList.toggle('linked', spec.data.values.some((row) => row.href));
    // What was kept free for the chart stays so: what follows does not move.
    element.style.minHeight ||= `${element.offsetHeight}px`;
    element.replaceChildren(screen);
    element.dataset.drawn = '';
    element.dispatchEvent(new CustomEvent('headwise:drawn', { bubbles: true, detail: { view, spec } }));
    const about = spec.usermeta?.headwise;
    const caption = document.querySelector(`[data-caption="${element.dataset.figure}"]`);
    if (caption && about) caption.textContent = about.caption;
    if (spec.description) element.setAttribute('aria-label', spec.description);
  } catch (error) {
    specifications.delete(element);
    element.textContent = `No chart: ${error.message}`;
  }
}

/** Draw a figure as it is printed: in light colours, as wide as paper. */
async function drawForPaper(element) {
  const spec = specifications.get(element);
  if (!spec || element.querySelector('.for-paper')) return;
  const paper = box('for-paper');
  try {
    await embed(paper, spec, LIGHT, PAPER);
    element.append(paper);
  } catch {
    // The picture of the screen is printed; the figures behind this one are drawn all the same.
  }
}

let turn = Promise.resolve();

/** Draw every figure of the page, one after the other, and those again whose numbers changed. */
function drawAll(again) {
  const figures = document.querySelectorAll('[data-figure]');
  for (const element of figures) {
    turn = turn.then(() => (again || drawn.get(element) !== source(element) ? draw(element) : null));
  }
  for (const element of figures) turn = turn.then(() => drawForPaper(element));
}

export function showCharts() {
  drawAll(false);
  document.addEventListener('headwise:updated', () => drawAll(false));
  dark.addEventListener('change', () => drawAll(true));
  let width = innerWidth;
  let timer;
  addEventListener('resize', () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (innerWidth !== width) drawAll(true);
      width = innerWidth;
    }, 150);
  });
}

document.addEventListener('click', async (event) => {
  const link = event.target.closest?.('a[data-copy]');
  if (!link || !navigator.clipboard) return;
  event.preventDefault();
  await navigator.clipboard.writeText(link.href);
  const before = link.textContent;
  link.textContent = 'Copied';
  setTimeout(() => { link.textContent = before; }, 1500);
});
