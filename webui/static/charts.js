// Charts by Plotly. Its bundle is large, so it is loaded when a chart comes near the window.

// Lines differ by dash and symbol, too.
const LINES = {
  dashes: ['solid', 'dash', 'dashdot', 'longdash', 'longdashdot'],
  symbols: ['circle', 'square', 'diamond', 'triangle-up', 'triangle-down'],
};
const DARK = matchMedia('(prefers-color-scheme: dark)');
let loading;

function plotly() {
  loading ??= new Promise((resolve, reject) => {
    // Plotly looks for its style elements by id; this class tells it to leave them alone, because
    // the page's policy forbids injected styles. The rules it needs are in style.css.
    for (const id of ['global', 'modebar']) {
      const marker = document.createElement('meta');
      marker.id = `plotly.js-style-${id}`;
      marker.className = 'no-inline-styles';
      document.head.append(marker);
    }
    const script = document.createElement('script');
    script.src = new URL('./plotly.min.js', import.meta.url);
    document.head.append(script);
    // Its map library injects a style sheet when it loads: no map is drawn here.
    document.head.appendChild = (node) =>
      node.nodeName === 'STYLE' ? node : Node.prototype.appendChild.call(document.head, node);
    script.onload = () => {
      delete document.head.appendChild;
      resolve(window.Plotly);
    };
    script.onerror = () => reject(new Error('the chart library could not be loaded'));
  });
  return loading;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return DARK.matches
    ? {
        text: read('--text'), muted: read('--muted'), line: read('--line'), surface: read('--surface'),
        sequential: [[0, '#1f252d'], [0.25, '#4d2f12'], [0.5, '#9a4a08'], [0.75, '#e07a1c'], [1, '#ffd29a']],
        diverging: [[0, '#8fb8ff'], [0.25, '#2a68d4'], [0.5, '#1f252d'], [0.75, '#ce6208'], [1, '#ffbf80']],
        bar: '#e07a1c', band: 'rgb(160 171 184 / 18%)', lines: ['#8fb2ff', '#f0b961', '#ff9389', '#72d39c', '#cda2f0', '#6fd3e0'], ...LINES, marks: ['#8fb2ff', '#f0b961', '#ff9389'],
      }
    : {
        text: read('--text'), muted: read('--muted'), line: read('--line'), surface: read('--surface'),
        sequential: [[0, '#fdf8f2'], [0.25, '#fbd3a5'], [0.5, '#f3983f'], [0.75, '#c45a0c'], [1, '#6b2a05']],
        diverging: [[0, '#123f8c'], [0.25, '#5898f0'], [0.5, '#fbfaf8'], [0.75, '#f08a24'], [1, '#8a3a03']],
        bar: '#f08a24', band: 'rgb(89 97 107 / 16%)', lines: ['#2750b8', '#b86e00', '#a8231b', '#17683d', '#7a3fa0', '#0b7285'], ...LINES, marks: ['#2750b8', '#c77700', '#a8231b'],
      };
}

function layout(c, extra) {
  return {
    autosize: true,
    paper_bgcolor: 'transparent',
    plot_bgcolor: 'transparent',
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: c.muted },
    margin: { l: 56, r: 16, t: 8, b: 44 },
    hoverlabel: { bgcolor: c.surface, bordercolor: c.line, font: { color: c.text, size: 13 }, align: 'left' },
    ...extra,
  };
}

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false };

const short = (value) => {
  if (value === null || value === undefined) return '–';
  if (value === 0) return '0';
  return Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5 ? value.toExponential(2) : value.toPrecision(3);
};

// No <b> and no powers in texts: Plotly would write them as inline styles.
function heads(element, data) {
  const c = colours();
  const shown = element.closest('figure').querySelector('[data-measures] input:checked')?.value ?? Object.keys(data.measures)[0];
  const measure = data.measures[shown];
  const flat = measure.values.flat().filter((value) => value !== null);
  const signed = flat.some((value) => value < 0);
  const top = Math.max(...flat.map(Math.abs), 1e-12);
  const text = measure.values.map((row, site) =>
    row.map((value, head) => {
      if (value === null) return '';
      const lines = [`${data.rows[site]} H${head}`, `${measure.title}: ${short(value)}`];
      if (measure.notes) return [...lines, measure.notes[site][head]].join('<br>');
      if (shown === 'mean' && data.low[site][head] !== null) {
        lines.push(`95 %: ${short(data.low[site][head])} to ${short(data.high[site][head])}`);
      }
      if (shown !== 'mean') lines.push(`Score: ${short(data.measures.mean.values[site][head])}`);
      if (shown !== 'mean_total') lines.push(`Total: ${short(data.measures.mean_total.values[site][head])}`);
      lines.push(`Rank ${data.rank[site][head]} of ${data.total}`);
      return lines.join('<br>');
    }));
  const narrow = element.clientWidth < 520;
  const height = Math.max(200, Math.min(760, data.rows.length * (narrow ? 30 : 38))) + 54;
  const trace = {
    type: 'heatmap', z: measure.values, y: data.rows,
    x: Array.from({ length: data.heads }, (_, head) => `H${head}`),
    text, hovertemplate: '%{text}<extra></extra>', xgap: 2, ygap: 2,
    colorscale: signed ? c.diverging : c.sequential,
    zmin: signed ? -top : 0, zmax: top,
    colorbar: { thickness: 10, outlinewidth: 0, tickfont: { color: c.muted }, len: 1, lenmode: 'fraction', nticks: 5, exponentformat: 'e' },
    showscale: !narrow,
  };
  const axes = {
    xaxis: { side: 'bottom', fixedrange: true, ticks: '', showgrid: false, zeroline: false, tickangle: 0, nticks: narrow ? 6 : 40 },
    yaxis: { autorange: 'reversed', fixedrange: true, ticks: '', showgrid: false, zeroline: false },
  };
  // Rows of other kinds than the encoder's have longer names: `decoder L11`.
  const wider = 6.5 * Math.max(0, ...data.rows.map((row) => row.length - 3));
  const margin = narrow ? { l: 34 + wider, r: 6, t: 4, b: 30 } : { l: 44 + wider, r: 8, t: 4, b: 34 };
  return [[trace], layout(c, { ...axes, height, margin })];
}

function histogram(element, data) {
  const c = colours();
  const trace = {
    type: 'bar', x: data.edges.map((edge) => edge + data.width / 2), y: data.counts,
    width: data.width * 0.94, marker: { color: c.bar },
    customdata: data.edges.map((edge) => [short(edge), short(edge + data.width)]),
    hovertemplate: '%{y} examples<br>score %{customdata[0]} to %{customdata[1]}<extra></extra>',
  };
  return [[trace], layout(c, {
    height: 280,
    xaxis: { title: { text: 'score' }, fixedrange: true, gridcolor: c.line, zeroline: false },
    yaxis: { title: { text: 'examples' }, fixedrange: true, gridcolor: c.line, zeroline: false },
  })];
}

function completeness(element, data) {
  const c = colours();
  const line = (name, values, index, symbol) => ({
    type: 'scatter', mode: 'lines+markers', name, x: data.rows, y: values.map((v) => (v > 0 ? v : null)),
    line: { color: c.marks[index], width: 1.5, dash: ['solid', 'dash', 'dot'][index] },
    marker: { size: 8, symbol, color: c.marks[index] },
    hovertemplate: `${name}: %{y:.2e}<extra>%{x}</extra>`,
  });
  return [[
    line('worst', data.worst, 2, 'diamond'),
    line('95 %', data.p95, 1, 'square'),
    line('median', data.median, 0, 'circle'),
  ], layout(c, {
    height: 300,
    legend: { orientation: 'h', y: 1.12, x: 0, font: { color: c.text } },
    margin: { l: 64, r: 16, t: 28, b: 34 },
    xaxis: { fixedrange: true, gridcolor: c.line, type: 'category', automargin: true },
    yaxis: { type: 'log', title: { text: '|residual|' }, fixedrange: true, gridcolor: c.line, exponentformat: 'e', dtick: 1 },
  })];
}

function scatter(element, data) {
  const c = colours();
  const trace = {
    type: 'scatter', mode: 'markers', x: data.x, y: data.y, text: data.names,
    marker: { size: 8, color: c.bar, opacity: 0.75 },
    hovertemplate: '%{text}<br>%{x:.3g}, %{y:.3g}<extra></extra>',
  };
  const axis = (text) => ({ title: { text }, fixedrange: true, gridcolor: c.line, zeroline: false, automargin: true });
  return [[trace], layout(c, { height: 460, xaxis: axis(data.x_title), yaxis: axis(data.y_title) })];
}

/** Curves of pruning: a line per source and direction, random orders as a band. */
function curve(element, data) {
  const c = colours();
  const chosen = (name) => element.closest('figure').querySelector(`[data-switch="${name}"] input:checked`)?.value ?? '';
  const measure = chosen('measure') || Object.keys(data.measures)[0];
  const title = data.measures[measure];
  const way = chosen('direction');
  const percent = (value) => (measure === 'loss' ? short(value) : `${(100 * value).toFixed(1)} %`);
  const traces = [];
  for (const line of data.lines) {
    if (way && line.direction !== 'any' && line.direction !== way) continue;
    const [values, low, high] = line.values[measure];
    const colour = c.lines[line.source % c.lines.length];
    if (line.direction === 'any') {
      const edge = { type: 'scatter', mode: 'lines', x: line.x, line: { width: 0 }, hoverinfo: 'skip', showlegend: false };
      traces.unshift({ ...edge, y: low }, { ...edge, y: high, fill: 'tonexty', fillcolor: c.band });
      traces.push({
        type: 'scatter', mode: 'lines', name: line.name, x: line.x, y: values, line: { color: c.muted, width: 1.5, dash: 'dot' },
        customdata: values.map((_, i) => [percent(values[i]), percent(low[i]), percent(high[i]), line.removed[i]]),
        hovertemplate: 'mean %{customdata[0]}<br>range %{customdata[1]} to %{customdata[2]}<br>%{customdata[3]} heads<extra></extra>',
      });
      continue;
    }
    const most = line.direction === 'most';
    const name = line.single ? `${line.name}, notebook` : `${line.name}, ${line.direction}`;
    traces.push({
      type: 'scatter', mode: line.single ? 'markers' : 'lines+markers', name, x: line.x, y: values,
      line: { color: colour, width: 1.75, dash: c.dashes[line.source % c.dashes.length] },
      marker: { size: line.single ? 11 : 7, color: colour, symbol: line.single ? 'star' : `${c.symbols[line.source % c.symbols.length]}${most ? '-open' : ''}` },
      error_y: { type: 'data', symmetric: false, array: high.map((v, i) => (v === null ? 0 : v - values[i])), arrayminus: low.map((v, i) => (v === null ? 0 : values[i] - v)), color: colour, thickness: 1, width: 3 },
      customdata: values.map((_, i) => [percent(values[i]), percent(low[i]), percent(high[i]), line.removed[i]]),
      hovertemplate: `${name}<br>${title} %{customdata[0]}<br>95 %: %{customdata[1]} to %{customdata[2]}<br>%{customdata[3]} heads<extra></extra>`,
    });
  }
  const narrow = element.clientWidth < 520;
  const named = traces.filter((trace) => trace.showlegend !== false).length;
  const rows = Math.ceil(named / (narrow ? 1 : 5));
  return [traces, layout(c, {
    height: 400 + 20 * rows,
    legend: { orientation: 'h', y: -0.18, x: 0, yanchor: 'top', traceorder: 'normal', font: { color: c.text } },
    margin: { l: 56, r: 10, t: 8, b: 60 + 20 * rows },
    xaxis: { title: { text: data.x_title }, dtick: data.dtick, fixedrange: true, gridcolor: c.line, zeroline: false },
    yaxis: { title: { text: title }, fixedrange: true, gridcolor: c.line, zeroline: false, tickformat: measure === 'loss' ? '' : '.0%' },
  })];
}

const KINDS = { heads, histogram, completeness, scatter, curve };

async function draw(element) {
  const source = document.getElementById(element.dataset.from);
  const data = JSON.parse(source.textContent);
  try {
    const Plotly = await plotly();
    const [traces, look] = KINDS[element.dataset.chart](element, data);
    await Plotly.react(element, traces, look, CONFIG);
    element.drawn = source.textContent;
    if (element.dataset.chart === 'heads' && !element.clickable) {
      element.clickable = true;
      element.on('plotly_click', ({ points: [{ pointNumber: [site, head] }] }) => {
        const links = JSON.parse(document.getElementById(element.dataset.from).textContent).links;
        if (links?.[site]?.[head]) location.assign(links[site][head]);
      });
    }
  } catch (error) {
    element.textContent = `No chart: ${error.message}. The table below has its numbers.`;
  }
}

function measures(element) {
  const figure = element.closest('figure');
  const group = figure.querySelector('[data-measures]');
  if (!group || group.childElementCount) return;
  const data = JSON.parse(document.getElementById(element.dataset.from).textContent);
  for (const [place, [name, { title }]] of Object.entries(data.measures).entries()) {
    const label = document.createElement('label');
    const input = Object.assign(document.createElement('input'), { type: 'radio', name: 'measure', value: name, checked: place === 0 });
    const text = document.createElement('span');
    text.textContent = title;
    label.append(input, text);
    group.append(label);
  }
  const explain = () => {
    const shown = group.querySelector('input:checked').value;
    figure.querySelector('[data-meaning]').textContent = `Colour: ${data.measures[shown].meaning}.${data.links ? ' Choose a cell to open its head.' : ''}`;
  };
  group.hidden = false;
  group.addEventListener('change', () => {
    explain();
    draw(element);
  });
  explain();
}

/** The choices above a chart that is drawn anew for each. */
function switches(element) {
  const figure = element.closest('figure');
  for (const group of figure.querySelectorAll('[data-switch]')) group.hidden = false;
  if (figure.switched) return;
  figure.switched = true;
  figure.addEventListener('change', () => draw(element));
}

/** Draw every chart of the page that is near the window, and redraw those whose data changed. */
export function showCharts() {
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      draw(target);
    }
  }, { rootMargin: '300px' });
  const watch = () => {
    for (const element of document.querySelectorAll('[data-chart]')) {
      const text = document.getElementById(element.dataset.from)?.textContent;
      if (element.dataset.chart === 'heads') measures(element);
      if (element.dataset.chart === 'curve') switches(element);
      if (element.drawn === undefined) near.observe(element);
      else if (element.drawn !== text) draw(element);
    }
  };
  watch();
  document.addEventListener('headwise:updated', watch);
  DARK.addEventListener('change', () => {
    for (const element of document.querySelectorAll('.js-plotly-plot')) draw(element);
  });
}
