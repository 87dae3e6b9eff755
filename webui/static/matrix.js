// The two maps of a head: the cell under the pointer, or chosen with the arrow keys, and its values.

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const number = (value) => Number(value.toPrecision(3)).toString().replaceAll('-', '−');

document.addEventListener('headwise:drawn', ({ target, detail: { view, spec } }) => {
  const shown = document.getElementById('cell');
  if (!shown || !spec.hconcat) return;
  const rows = spec.data.values;
  const n = Math.sqrt(rows.length);
  const best = rows.reduce((most, row) => (row.attribution > most.attribution ? row : most));
  let at = [best.query, best.key];

  const choose = (query, key) => {
    at = [query, key];
    const cell = rows[query * n + key];
    view.signal('at_query', query).signal('at_key', key).runAsync();
    const sign = cell.attribution > 0 ? '+' : '';
    shown.textContent = `${cell.query_token} (${query}) reads ${cell.key_token} (${key}): attention ${number(cell.attention)}, attribution ${sign}${number(cell.attribution)}`;
  };

  target.tabIndex = 0;
  target.setAttribute('role', 'application');
  target.setAttribute('aria-roledescription', 'two heat maps; arrow keys choose a cell');
  target.setAttribute('aria-describedby', shown.id);
  target.onfocus = () => choose(...at);
  target.onkeydown = (event) => {
    const step = STEPS[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    // The page's own keys go to the next head.
    event.stopPropagation();
    choose(...at.map((place, axis) => Math.max(0, Math.min(n - 1, place + step[axis]))));
  };
  view.addEventListener('pointermove', (_event, item) => {
    const { query, key } = item?.datum ?? {};
    if (Number.isInteger(query) && Number.isInteger(key) && (query !== at[0] || key !== at[1])) choose(query, key);
  });
});
