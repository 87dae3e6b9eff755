// The switch on the page of notifications; webui/static/notify.js shows them on every page.

import { KEY } from './notify.js';

const section = document.getElementById('browser');
const box = document.getElementById('in-browser');
const state = document.getElementById('browser-state');

function show() {
  const blocked = Notification.permission === 'denied';
  box.checked = !blocked && localStorage.getItem(KEY) !== null;
  box.disabled = blocked;
  if (blocked) state.textContent = 'The browser blocks notifications of this site; its settings can allow them.';
  else state.textContent = box.checked ? 'On: you will be notified when a job ends.' : '';
}

// Without https, browsers allow notifications on localhost only.
section.hidden = !('Notification' in window && isSecureContext);
if (!section.hidden) {
  show();
  box.addEventListener('change', async () => {
    if (box.checked && (await Notification.requestPermission()) === 'granted') localStorage.setItem(KEY, '');
    else localStorage.removeItem(KEY);
    show();
    if (box.checked) location.reload();
  });
}
