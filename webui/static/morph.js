// Brings a part of the page up to date with another version of it, touching only what differs:
// focus, selection, open <details> and running transitions stay.

/** Make `old` like `fresh`. Elements with data-key are matched by it, others by their place. */
export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh.cloneNode(true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.isEqualNode(fresh)) return;
  morphAttributes(old, fresh);
  // A chart and its caption are drawn by script: what the server sends for them is empty.
  if (old.dataset.figure || old.dataset.caption) return;
  morphChildren(old, fresh);
}

function morphAttributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (old.tagName === 'TIME' && name === 'title') continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // Styles are of scripts: the server sends none.
    const own = name === 'style' || (old.tagName === 'DETAILS' && name === 'open');
    if (!own && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
}

function morphChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted.dataset?.key;
    const same = key ? keyed.get(key) : place;
    if (!same || (key === undefined && same.dataset?.key)) {
      old.insertBefore(wanted.cloneNode(true), place);
      continue;
    }
    if (same !== place) old.insertBefore(same, place);
    const next = same.nextSibling;
    morph(same, wanted);
    place = next;
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

/** Fetch `url` and bring the elements that match `selector` up to date. True when it worked.
 *  The first element's data-etag is the version that is shown: nothing is sent where it is the newest. */
export async function refresh(url, selector) {
  const parts = selector.split(',');
  const headers = { Accept: 'text/html' };
  const shown = document.querySelector(parts[0])?.dataset.etag;
  if (shown) headers['If-None-Match'] = shown;
  const response = await fetch(url, { headers });
  if (response.status === 304) return true;
  if (!response.ok) return false;
  const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
  const pairs = parts.map((one) => [document.querySelector(one), fresh.querySelector(one)]);
  for (const [old, next] of pairs) {
    if (!old || !next) return false;
    prepare(next);
    morph(old, next);
  }
  document.dispatchEvent(new CustomEvent('headwise:updated'));
  return true;
}

const two = (number) => String(number).padStart(2, '0');
const zoneName = new Intl.DateTimeFormat('en', { timeZoneName: 'short' });

/** As the server writes it, in the reader's time zone; a zone without a short name has none. */
function format(date) {
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  const zone = zoneName.formatToParts(date).find(({ type }) => type === 'timeZoneName').value;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())} ${zone.length > 4 ? '' : zone}`.trim();
}

/** Times of the server (UTC) in the reader's time zone. */
export function prepare(root) {
  for (const element of root.querySelectorAll('time[datetime]')) {
    element.title = element.textContent;
    element.textContent = format(new Date(element.dateTime));
  }
}
