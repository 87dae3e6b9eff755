// Notifications of this browser about jobs that ended. One tab of all that are open asks.

import { repeat } from './repeat.js';

export const KEY = 'notify-after'; // the time up to which jobs were told; absent: switched off
const EVERY = 10;

async function ask() {
  const after = localStorage.getItem(KEY);
  if (after === null) return true;
  const answer = await fetch(`/notifications/ended${after && `?after=${after}`}`);
  if (!answer.ok) return false;
  const found = await answer.json();
  localStorage.setItem(KEY, found.after);
  for (const job of found.jobs) {
    const shown = new Notification(job.title, { body: job.name, tag: `headwise-job-${job.id}` });
    shown.addEventListener('click', () => {
      window.focus();
      location.assign(job.url);
    });
  }
  return true;
}

export function start() {
  if (localStorage.getItem(KEY) === null || !('Notification' in window)) return;
  if (Notification.permission !== 'granted') return;
  // The lock is kept until the tab closes; then another tab gets it.
  navigator.locks?.request('headwise-notifications', async () => {
    await ask();
    repeat(ask, () => EVERY);
    await new Promise(() => {});
  });
}
