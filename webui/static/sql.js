// The SQL console: Ctrl+Enter runs, a column's name is put where the cursor is.

const form = document.getElementById('sql-form');
const area = document.getElementById('sql');

area.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit(form.querySelector('.primary'));
  }
});

form.addEventListener('submit', (event) => {
  if (event.submitter?.hasAttribute('data-plain')) return;
  const button = form.querySelector('.primary');
  button.disabled = true;
  button.firstChild.textContent = 'Running… ';
  // Coming back with the browser's Back button finds it as it was.
  addEventListener('pageshow', () => location.reload(), { once: true });
});

document.addEventListener('click', (event) => {
  const name = event.target.closest('[data-insert]')?.dataset.insert;
  if (!name) return;
  area.setRangeText(name, area.selectionStart, area.selectionEnd, 'end');
  area.focus();
});

const end = area.value.length;
area.setSelectionRange(end, end);
