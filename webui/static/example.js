// The strongest token pairs as arcs over the sentence, on an example's page and in the text lab.

const SVG = 'http://www.w3.org/2000/svg';
// A part of the page that was renewed is as the server sent it: without arcs.
const drawAll = () => document.querySelectorAll('[data-arcs]:not(:has(.arcs-stage > svg))').forEach(arcs);
drawAll();
document.addEventListener('headwise:updated', drawAll);

function arcs(element) {
  const { edges } = JSON.parse(document.getElementById(element.dataset.arcs).textContent);
  const stage = element.querySelector('.arcs-stage');
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('aria-hidden', 'true');
  stage.append(svg);

  const draw = () => {
    const frame = stage.getBoundingClientRect();
    const top = Math.max(...edges.map((edge) => Math.abs(edge.value)), 1e-12);
    const middle = (index) => {
      // Of a word that is broken over two lines, the first piece counts.
      const box = stage.querySelector(`[data-word="${index}"]`).getClientRects()[0];
      return { x: box.left + box.width / 2 - frame.left, top: box.top - frame.top, bottom: box.bottom - frame.top };
    };
    svg.replaceChildren();
    edges.forEach((edge, place) => {
      const from = middle(edge.k);
      const to = middle(edge.q);
      const strength = Math.abs(edge.value) / top;
      const sign = edge.value >= 0 ? 'positive' : 'negative';
      const { path, tip, dot } = route(from, to, edge.k === edge.q, place);
      const line = part('path', { d: path, class: `arc ${sign}`, 'stroke-width': 1 + 3.5 * strength, 'stroke-opacity': 0.45 + 0.5 * strength });
      const title = document.createElementNS(SVG, 'title');
      title.textContent = `${edge.name}: ${edge.value.toPrecision(3)}`;
      line.append(title);
      const ends = [
        part('circle', { cx: dot.x, cy: dot.y, r: 2.6, class: `arc-end ${sign}` }),
        part('path', { d: arrow(tip), class: `arc-end ${sign}` }),
      ];
      svg.append(line, ...ends);
      for (const one of [line, ...ends]) one.dataset.edge = edge.rank;
    });
  };

  const single = (rank) => {
    element.classList.toggle('singled', rank !== null);
    for (const one of document.querySelectorAll('#pairs [data-edge]')) {
      one.classList.toggle('on', rank !== null && one.dataset.edge === rank);
    }
    const edge = edges.find((one) => String(one.rank) === rank);
    for (const word of stage.querySelectorAll('.w')) {
      word.classList.toggle('on', edge !== undefined && [edge.q, edge.k].includes(Number(word.dataset.word)));
    }
  };

  const section = document.getElementById('pairs');
  new ResizeObserver(draw).observe(stage);
  if (!section) return;
  section.addEventListener('pointerover', (event) => single(event.target.closest('[data-edge]')?.dataset.edge ?? null));
  section.addEventListener('pointerleave', () => single(null));
  section.addEventListener('focusin', (event) => single(event.target.closest('[data-edge]')?.dataset.edge ?? null));
  section.addEventListener('focusout', () => single(null));
}

function part(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** The way from one word to another: above the line where both are on it, else between the lines. */
function route(from, to, same, place) {
  const shift = 2 * ((place % 3) - 1);
  if (same) {
    const y = from.top;
    return {
      path: `M${from.x - 5},${y} C${from.x - 16},${y - 24} ${from.x + 16},${y - 24} ${from.x + 5},${y - 3}`,
      dot: { x: from.x - 5, y }, tip: { x: to.x + 5, y, up: false },
    };
  }
  const x1 = from.x + shift;
  const x2 = to.x + shift;
  if (Math.abs(from.top - to.top) < 4) {
    const lift = Math.min(30, 10 + Math.abs(x2 - x1) * 0.09);
    const y = from.top;
    return {
      path: `M${x1},${y} C${x1},${y - lift * 1.33} ${x2},${y - lift * 1.33} ${x2},${y - 3}`,
      dot: { x: x1, y }, tip: { x: x2, y, up: false },
    };
  }
  const down = to.top > from.top;
  const y1 = down ? from.bottom : from.top;
  const y2 = down ? to.top : to.bottom;
  const bend = (y2 - y1) / 2;
  return {
    path: `M${x1},${y1} C${x1},${y1 + bend} ${x2},${y2 - bend} ${x2},${y2 + (down ? -3 : 3)}`,
    dot: { x: x1, y: y1 }, tip: { x: x2, y: y2, up: !down },
  };
}

function arrow({ x, y, up }) {
  const s = up ? -1 : 1;
  return `M${x},${y + s} l-3.8,${-6 * s} h7.6 z`;
}
