// The strongest token pairs of an example's page: a row or an arc that is pointed at stands out.

function single(event) {
  const section = document.getElementById('pairs');
  if (!section) return;
  const rank = event.target.closest?.('#pairs [data-edge]')?.dataset.edge ?? null;
  section.querySelector('.drawing')?.classList.toggle('singled', rank !== null);
  const ends = new Set();
  for (const one of section.querySelectorAll('[data-edge]')) {
    const on = rank !== null && one.dataset.edge === rank;
    one.classList.toggle('on', on);
    if (on && one.dataset.query) ends.add(one.dataset.query).add(one.dataset.key);
  }
  for (const word of section.querySelectorAll('.word')) word.classList.toggle('on', ends.has(word.dataset.word));
}

// Of the page, because its parts are renewed.
for (const kind of ['pointerover', 'focusin']) document.addEventListener(kind, single);
