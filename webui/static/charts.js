// Figures by Vega-Lite. Their specifications are in the page, without colours: those are the theme's.

import { DARK, LIGHT } from './themes.js';

const dark = matchMedia('(prefers-color-scheme: dark)');
const NARROW = 520;
const CELL = 46;
const BESIDE = 260; // a legend and labels
const MARGIN = 50; // between panels
const PANEL = 270; // the narrowest one beside another
const PAPER = 640;
const CELL_OF_MATRIX = 26;
const MATRIX = 430; // all cells of one of two maps beside each other
const LABELS = 125; // the tokens left of them
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

/** Panels side by side where there is room for them; Vega-Lite fits no panels by itself. */
function panelled(spec, width, config) {
  const inner = spec.spec;
  const room = width < NARROW ? width - MARGIN : width - BESIDE;
  const columns = Math.min(spec.facet.sort.length, Math.max(1, Math.floor(room / PANEL)));
  const across = Math.max(120, room / columns - MARGIN);
  const heads = inner.width?.step && new Set(spec.data.values.map((row) => row.head)).size;
  const each = heads ? Math.min(across, heads * inner.width.step) : across;
  return { ...spec, columns, spec: { ...inner, width: each }, config };
}

/** Two maps side by side, or below each other on a phone; cells stay small. */
function beside(spec, width, config) {
  const { hconcat, ...rest } = spec;
  const cells = new Set(spec.data.values.map((row) => row.query)).size;
  const across = width >= 2 * (LABELS + PANEL / 2);
  const each = across ? (width - spec.spacing) / 2 - LABELS : width - LABELS;
  const size = Math.min(MATRIX, CELL_OF_MATRIX * cells, Math.max(120, each));
  const maps = hconcat.map((map) => ({ ...map, width: size, height: size }));
  return { ...rest, [across ? 'hconcat' : 'vconcat']: maps, config: { axis: config.axis } };
}

/** The specification as wide as its place; cells of a grid stay small. */
function fitted(spec, width) {
  const narrow = width < NARROW;
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
  return {
    ...spec,
    width: fits ? grid : Math.max(160, width),
    height: step ? step * count(spec.encoding.y) : spec.height,
    autosize: spec.autosize ?? (fits ? 'pad' : { type: 'fit-x', contains: 'padding' }),
    config,
  };
}

/** Draw into `host`; policy: no code made of text (`ast`), no style elements. */
async function embed(host, spec, theme, width) {
  await import('./vega.js');
  const font = getComputedStyle(document.body).fontFamily;
  return window.vegaEmbed(host, fitted(spec, width), {
    ast: true,
    actions: false,
    defaultStyle: false,
    renderer: spec.data.values.length > MOST_SHAPES ? 'canvas' : 'svg',
    logLevel: 1,
    tooltip: showTooltip,
    config: { ...theme, background: 'transparent', font },
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

async function draw(element) {
  drawn.set(element, source(element));
  const [screen, paper] = ['for-screen', 'for-paper'].map((className) => Object.assign(document.createElement('div'), { className }));
  try {
    const spec = await read(element);
    // Beside the old picture until it is there, so that nothing moves.
    const width = element.clientWidth;
    const { view } = await embed(screen, spec, dark.matches ? DARK : LIGHT, width);
    view.addEventListener('click', (_event, item) => item?.datum?.href && location.assign(item.datum.href));
    element.classList.toggle('linked', spec.data.values.some((row) => row.href));
    const parts = [screen];
    if (dark.matches) {
      await embed(paper, spec, LIGHT, PAPER);
      parts.push(paper);
    } else screen.classList.add('for-paper');
    // What was kept free for the chart stays so: what follows does not move.
    element.style.minHeight ||= `${element.offsetHeight}px`;
    element.replaceChildren(...parts);
    element.dataset.drawn = '';
    element.dispatchEvent(new CustomEvent('headwise:drawn', { bubbles: true, detail: { view, spec } }));
    const about = spec.usermeta?.headwise;
    const caption = document.querySelector(`[data-caption="${element.dataset.figure}"]`);
    if (caption && about) caption.textContent = about.caption;
    if (spec.description) element.setAttribute('aria-label', spec.description);
  } catch (error) {
    element.textContent = `No chart: ${error.message}`;
  }
}

let turn = Promise.resolve();

/** Draw every figure of the page, one after the other, and those again whose numbers changed. */
function drawAll(again) {
  for (const element of document.querySelectorAll('[data-figure]')) {
    turn = turn.then(() => (again || drawn.get(element) !== source(element) ? draw(element) : null));
  }
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
