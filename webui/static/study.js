// A study's page: its steps renew themselves; when one of them ends, what it found appears.

import { showCharts } from './charts.js';
import { refresh } from './morph.js';

showCharts();

const steps = () => document.getElementById('steps').dataset.states;
let seen = steps();

document.addEventListener('headwise:updated', () => {
  if (steps() === seen) return;
  seen = steps();
  refresh(location.href, '#main').catch(() => {
    // The next renewal of the steps tries again.
    seen = '';
  });
});
