// The form of a new job: checked while it is filled in, with every problem at its field.

const form = document.getElementById('job-form');
const summary = document.getElementById('summary');
const card = document.getElementById('estimate');
const estimate = card.querySelector('[data-estimate]');
const field = (name) => form.elements.namedItem(name);
const touched = new Set();
// What is wrong with the file itself; checking says so only when the rest can be read.
let fileProblems = [];
let running;
let timer;

function make(tag, text, attributes = {}) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.textContent = text;
  return element;
}

/** The fields as they are; the server reads them. A file is sent when it is chosen, not here. */
function fields() {
  const data = new FormData(form);
  data.delete('upload');
  return data;
}

/** The control of a field; one that several controls make names the first of them. */
const control = (name) => form.querySelector(`[data-field="${CSS.escape(name)}"]`) ?? field(name);

/** Whether a problem may be shown yet: not for fields that wait to be filled in. */
function due(problem) {
  const element = control(problem.field);
  if (!element) return true;
  const empty = !(element.value ?? '').trim();
  return !empty || touched.has(problem.field);
}

function show(problems) {
  for (const place of form.querySelectorAll('[data-problem]')) {
    const mine = problems.filter((problem) => problem.field === place.dataset.problem);
    place.textContent = mine.map((problem) => sentence(problem)).join(' ');
    place.hidden = mine.length === 0;
    const element = control(place.dataset.problem);
    if (element instanceof Element) {
      if (mine.length) element.setAttribute('aria-invalid', 'true');
      else element.removeAttribute('aria-invalid');
    }
  }
  const elsewhere = problems.filter((problem) => !form.querySelector(`[data-problem="${CSS.escape(problem.field)}"]`));
  const list = make('ul', '', { className: 'problems' });
  for (const problem of elsewhere) list.append(make('li', `${labelOf(problem.field)}: ${sentence(problem)}`));
  summary.querySelector('[data-elsewhere]').replaceChildren(...(elsewhere.length ? [list] : []));
  summary.querySelector('[data-count]').textContent = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  summary.hidden = elsewhere.length === 0;
}

function sentence({ value, message, remedy }) {
  const given = value === null || value === '' ? '' : ` (given: ${value})`;
  return `${message}${given}. ${remedy}`.trim();
}

let shown = '';

function showEstimate({ html, model }) {
  // Written again it would be announced again.
  if (shown !== html) estimate.innerHTML = html;
  shown = html;
  const options = ['predicted', 'gold', ...model.labels].map((value) => make('option', '', { value }));
  document.getElementById('targets')?.replaceChildren(...options);
}

function showWords(text) {
  if (shown !== text) estimate.replaceChildren(make('p', text, { className: 'muted' }));
  shown = text;
}

function labelOf(name) {
  return form.querySelector(`label[for="${CSS.escape(name)}"]`)?.textContent ?? name;
}

function stillNeeded(names) {
  return `Still needed: ${names.map((name) => labelOf(name).toLowerCase()).join(', ')}.`;
}

async function check() {
  const empty = (name) => !(field(name)?.value ?? '').trim();
  const nothing = ['model.name', 'data.path', 'data.dataset'].every(empty) && !touched.size;
  if (nothing) return;
  running?.abort();
  running = new AbortController();
  card.classList.add('busy');
  try {
    const response = await fetch(form.dataset.check, {
      method: 'POST',
      headers: { Accept: 'application/json' },
      body: fields(),
      signal: running.signal,
    });
    const found = await response.json();
    const problems = found.problems ?? [];
    if (!problems.some(({ field: name }) => name === 'data.path')) problems.push(...fileProblems);
    show(problems.filter(due));
    if (!found.problems) showEstimate(found);
    else {
      const waiting = problems.filter((problem) => !due(problem)).map((problem) => problem.field);
      const text = problems.some(due) ? 'Known when the problems are solved.' : stillNeeded(waiting);
      showWords(text);
    }
    card.classList.remove('busy');
  } catch (error) {
    if (error.name === 'AbortError') return;
    card.classList.remove('busy');
    showWords('The server does not answer; submitting checks everything again.');
  }
}

const soon = () => {
  clearTimeout(timer);
  timer = setTimeout(check, 350);
};

function showPreview({ columns, rows, guessed }) {
  const place = form.querySelector('[data-preview-table]');
  const table = make('table', '', { className: 'dense' });
  const head = table.createTHead().insertRow();
  for (const column of columns) {
    const button = make('button', column, { type: 'button', title: `Use ${column} as a text column` });
    button.addEventListener('click', () => useColumn(column));
    const cell = make('th', '', { scope: 'col' });
    cell.append(button);
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const column of columns) line.insertCell().textContent = row[column] ?? '';
  }
  const parts = [make('p', 'First rows. Choose a column to use it as text.', { className: 'hint' })];
  const said = useGuess(guessed);
  if (said) parts.push(make('p', said, { className: 'notice small' }));
  place.replaceChildren(...parts, table);
  place.hidden = false;
}

/** Fill in the columns that the file seems to have, where none were typed. */
function useGuess({ text_columns: texts, label_column: label }) {
  const [text, labels] = [field('data.text_columns'), field('data.label_column')];
  if (text.value.trim() || !texts.length) return '';
  text.value = texts.join(', ');
  let said = `Columns guessed from the file: texts from ${texts.join(' and ')}`;
  if (label && !labels.value.trim()) {
    labels.value = label;
    said += `, labels from ${label}`;
  }
  return `${said}.`;
}

function useColumn(column) {
  const element = field('data.text_columns');
  const chosen = element.value.split(',').map((part) => part.trim()).filter(Boolean);
  const next = chosen.includes(column) ? chosen.filter((one) => one !== column) : [...chosen, column].slice(-2);
  element.value = next.join(', ');
  touched.add('data.text_columns');
  soon();
}

async function preview() {
  const place = form.querySelector('[data-preview-table]');
  const path = field('data.path').value.trim();
  place.hidden = true;
  fileProblems = [];
  if (!path || field('source').value !== 'file') return;
  const response = await fetch(form.dataset.preview, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ path }),
  });
  if (!response.ok) return;
  const found = await response.json();
  if (!found.problems) return showPreview(found);
  fileProblems = found.problems;
  soon();
}

function showUploaded(name) {
  const line = form.querySelector('[data-uploaded]');
  line.hidden = !name;
  line.querySelector('strong').textContent = name;
}

async function upload(input) {
  const place = form.querySelector('[data-problem="file"]');
  const body = new FormData();
  body.append('file', input.files[0]);
  place.hidden = false;
  place.textContent = 'Uploading…';
  try {
    const response = await fetch(form.dataset.upload, { method: 'POST', body });
    const found = await response.json();
    if (!response.ok) {
      place.textContent = found.problems.map(sentence).join(' ');
      return;
    }
    field('data.path').value = found.path;
    showUploaded(found.name);
    fileProblems = [];
    // The file is on the server now: submitting must not send it again.
    input.value = '';
    place.textContent = '';
    place.hidden = true;
    showPreview(found);
    soon();
  } catch {
    place.textContent = 'The upload broke off. Try again.';
  }
}

form.addEventListener('input', (event) => {
  if (event.target.id !== 'upload') soon();
});
form.addEventListener('change', (event) => {
  if (event.target.id === 'upload') {
    if (event.target.files.length) upload(event.target);
    return;
  }
  touched.add(event.target.dataset.field ?? event.target.name);
  if (event.target.name === 'data.path') {
    showUploaded('');
    preview();
  }
  soon();
});

// The file picker opens folders in place; without this script the page comes back with them.
form.addEventListener('click', async (event) => {
  const button = event.target.closest('button[name="do"]');
  const [action, name, ...rest] = button?.value.split(':') ?? [];
  if (action !== 'open' && action !== 'take') return;
  event.preventDefault();
  const place = document.getElementById(`picker-${name}`);
  if (action === 'take') {
    place.querySelector('.listing').remove();
    field(name).value = rest.join(':');
    field(name).dispatchEvent(new Event('change', { bubbles: true }));
    field(name).focus();
    return;
  }
  const body = fields();
  body.set('do', button.value);
  const response = await fetch(form.action, { method: 'POST', body });
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  const opened = page.getElementById(place.id);
  if (opened) {
    place.replaceChildren(...opened.childNodes);
    place.querySelector('.listing button')?.focus();
  }
});

preview().then(soon, () => {});
if (summary.hidden) soon();
