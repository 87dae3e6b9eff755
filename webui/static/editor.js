// An editor of SQL over a textarea: colours and numbers of lines under its text, the line at fault,
// and completion from the views that the page lists. Without this script it is a textarea.

const KEYWORDS = new Set(('ALL AND AS ASC BETWEEN BY CASE CAST CROSS DESC DISTINCT ELSE END EXCEPT EXISTS FILTER FIRST FROM FULL ' +
  'GROUP HAVING IN INNER INTERSECT IS JOIN LAST LEFT LIKE LIMIT NOT NULL NULLS OFFSET ON OR ORDER OUTER OVER PARTITION RECURSIVE ' +
  'RIGHT SELECT THEN UNION USING VALUES WHEN WHERE WITH').split(' '));
const FUNCTIONS = ['ABS', 'AVG', 'COALESCE', 'COUNT', 'LENGTH', 'LOWER', 'MAX', 'MIN', 'NULLIF', 'RANK', 'REPLACE', 'ROUND', 'ROW_NUMBER', 'SQRT', 'SUBSTR', 'SUM', 'UPPER'];
const TOKENS = /(--[^\n]*|\/\*[^]*?(?:\*\/|$))|('(?:[^']|'')*(?:'|$))|\b(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\b|([A-Za-z_]\w*)|("[^"]*"?|\s+|[^])/g;
const MOST = 12; // suggestions that are listed

/** Parts of the text with their class: comment, string, number, word, or none. */
function tokens(text) {
  return [...text.matchAll(TOKENS)].map(([part, comment, string, number, word]) => {
    const kind = comment ? 'comment' : string ? 'string' : number ? 'number' : word ? 'word' : '';
    return { text: part, kind };
  });
}

/** The views of the page, with the names, types and meanings of their columns. */
function readViews() {
  return new Map([...document.querySelectorAll('details.view')].map((view) => {
    const columns = [...view.querySelectorAll('dt')].map((term) => ({
      name: term.querySelector('code').textContent,
      detail: term.querySelector('span').textContent,
      meaning: term.nextElementSibling.textContent,
    }));
    const name = view.querySelector('summary code').textContent;
    return [name, { name, columns, meaning: view.querySelector('p').textContent }];
  }));
}

export class Editor {
  constructor(area) {
    this.area = area;
    this.views = readViews();
    this.columns = new Set([...this.views.values()].flatMap((view) => view.columns.map((one) => one.name)));
    this.build();
    this.paint();
    this.area.addEventListener('input', () => { this.paint(); this.suggest(); });
    this.area.addEventListener('keydown', (event) => this.onKey(event));
    this.area.addEventListener('blur', () => this.close());
    this.area.addEventListener('scroll', () => { this.under.scrollTop = this.area.scrollTop; });
    this.area.addEventListener('click', () => this.close());
  }

  build() {
    const box = Object.assign(document.createElement('div'), { className: 'editor' });
    this.under = Object.assign(document.createElement('pre'), { className: 'editor-colours' });
    this.under.setAttribute('aria-hidden', 'true');
    this.list = Object.assign(document.createElement('ul'), { className: 'suggestions', id: 'sql-suggestions', hidden: true });
    this.list.setAttribute('role', 'listbox');
    this.list.setAttribute('aria-label', 'Suggestions');
    this.said = Object.assign(document.createElement('p'), { className: 'sr' });
    this.said.setAttribute('role', 'status');
    this.area.before(box);
    box.append(this.under, this.area, this.list, this.said);
    this.area.setAttribute('aria-autocomplete', 'list');
    this.area.setAttribute('aria-controls', this.list.id);
    this.list.addEventListener('mousedown', (event) => {
      event.preventDefault(); // the text keeps the focus
      const option = event.target.closest('li');
      if (option) this.accept(Number(option.dataset.place));
    });
  }

  paint() {
    const fault = Number(this.area.dataset.line ?? 0);
    const lines = [document.createElement('span')];
    for (const { text, kind } of tokens(this.area.value)) {
      text.split('\n').forEach((part, place) => {
        if (place) lines.push(document.createElement('span'));
        if (!part) return;
        const className = kind === 'word' ? this.wordClass(part) : kind;
        lines.at(-1).append(className ? Object.assign(document.createElement('b'), { className, textContent: part }) : part);
      });
    }
    lines.forEach((line, place) => { line.className = place + 1 === fault ? 'line fault' : 'line'; });
    this.under.replaceChildren(...lines);
    this.area.rows = Math.min(24, Math.max(8, lines.length + 1));
    this.under.scrollTop = this.area.scrollTop;
  }

  wordClass(word) {
    if (KEYWORDS.has(word.toUpperCase())) return 'keyword';
    if (this.views.has(word.toLowerCase())) return 'view-name';
    return '';
  }

  /** What may stand at the cursor: views, columns of the views in use, functions and keywords. */
  candidates(before, word, qualifier) {
    const used = this.used();
    if (qualifier) return used.get(qualifier)?.columns ?? this.views.get(qualifier)?.columns ?? [];
    const views = [...this.views.values()].map(({ name, meaning }) => ({ name, detail: 'view', meaning }));
    if (/\b(from|join)\s+$/i.test(before)) return views;
    const columns = used.size ? [...used.values()].flatMap((view) => view.columns) : [];
    const lower = word && word === word.toLowerCase();
    const plain = (detail) => (name) => ({ name: lower ? name.toLowerCase() : name, detail, meaning: '' });
    return [...columns, ...views, ...FUNCTIONS.map(plain('function')), ...[...KEYWORDS].map(plain('keyword'))];
  }

  /** The views that the query names, by name and by alias. */
  used() {
    const found = new Map();
    for (const [, name, alias] of this.area.value.matchAll(/\b(?:from|join)\s+(\w+)(?:\s+(?:as\s+)?(\w+))?/gi)) {
      const view = this.views.get(name.toLowerCase());
      if (!view) continue;
      const named = alias && !KEYWORDS.has(alias.toUpperCase());
      found.set(named ? alias : name, view);
    }
    return found;
  }

  suggest({ asked = false } = {}) {
    const end = this.area.selectionStart;
    const text = this.area.value.slice(0, end);
    const kinds = tokens(text);
    const inside = ['string', 'comment'].includes(kinds.at(-1)?.kind) && !/^'.*'$/s.test(kinds.at(-1).text);
    const [, qualifier, word] = /(?:(\w+)\.)?(\w*)$/.exec(text);
    const start = end - word.length;
    if (end !== this.area.selectionEnd || inside || /^\d/.test(word) || (!word && !qualifier && !asked)) return this.close();
    const wanted = word.toLowerCase();
    const seen = new Set();
    const fitting = this.candidates(text.slice(0, start), word, qualifier).filter(({ name }) => {
      const fits = name.toLowerCase().includes(wanted) && name.toLowerCase() !== wanted && !seen.has(name);
      seen.add(name);
      return fits;
    });
    const begins = ({ name }) => !name.toLowerCase().startsWith(wanted);
    this.options = fitting.sort((a, b) => begins(a) - begins(b)).slice(0, MOST);
    if (!this.options.length || (!asked && !qualifier && word.length < 2)) return this.close();
    this.range = [start, end];
    this.chosen = 0;
    this.show();
  }

  show() {
    this.list.replaceChildren(...this.options.map(({ name, detail, meaning }, place) => {
      const option = Object.assign(document.createElement('li'), { id: `sql-suggestion-${place}`, title: meaning });
      option.setAttribute('role', 'option');
      option.dataset.place = place;
      const kind = Object.assign(document.createElement('span'), { className: 'muted', textContent: detail });
      option.append(name, ' ', kind);
      return option;
    }));
    this.list.hidden = false;
    this.choose(0);
    const { x, y } = this.place(this.range[0]);
    const room = this.list.parentElement.clientWidth - this.list.offsetWidth - 8;
    this.list.style.left = `${Math.max(0, Math.min(x, room))}px`;
    this.list.style.top = `${y}px`;
    const count = this.options.length;
    this.said.textContent = `${count} suggestion${count === 1 ? '' : 's'}. Up and Down choose, Enter takes one, Escape closes.`;
  }

  /** Below a character, in pixels of the editor. */
  place(offset) {
    const range = document.createRange();
    const lines = [...this.under.children];
    let left = offset;
    const line = lines.find((one) => { if (left <= one.textContent.length) return true; left -= one.textContent.length + 1; return false; }) ?? lines.at(-1);
    const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    let node = walker.nextNode();
    while (node && left > node.length) { left -= node.length; node = walker.nextNode(); }
    if (node) {
      range.setStart(node, left);
      range.setEnd(node, left);
    } else range.selectNodeContents(line);
    const box = this.list.parentElement.getBoundingClientRect();
    const at = node ? range.getBoundingClientRect() : line.getBoundingClientRect();
    return { x: at.left - box.left, y: at.bottom - box.top + 2 };
  }

  choose(place) {
    this.chosen = (place + this.options.length) % this.options.length;
    [...this.list.children].forEach((option, one) => option.setAttribute('aria-selected', one === this.chosen));
    this.area.setAttribute('aria-activedescendant', `sql-suggestion-${this.chosen}`);
    this.list.children[this.chosen].scrollIntoView({ block: 'nearest' });
  }

  accept(place) {
    const [start, end] = this.range;
    this.close();
    this.insert(this.options[place].name, start, end);
  }

  /** Put text into the query, so that the browser can undo it. */
  insert(text, start = this.area.selectionStart, end = this.area.selectionEnd) {
    this.area.focus();
    this.area.setSelectionRange(start, end);
    if (!document.execCommand('insertText', false, text)) {
      this.area.setRangeText(text, start, end, 'end');
      this.paint();
    }
    this.close();
  }

  close() {
    this.list.hidden = true;
    this.said.textContent = '';
    this.area.removeAttribute('aria-activedescendant');
  }

  onKey(event) {
    if (event.key === ' ' && event.ctrlKey) {
      event.preventDefault();
      this.suggest({ asked: true });
      return;
    }
    if (this.list.hidden || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const act = {
      ArrowDown: () => this.choose(this.chosen + 1),
      ArrowUp: () => this.choose(this.chosen - 1),
      Enter: () => this.accept(this.chosen),
      Tab: () => this.accept(this.chosen),
      Escape: () => this.close(),
    }[event.shiftKey ? '' : event.key];
    if (act) {
      event.preventDefault();
      act();
    } else if (event.key.startsWith('Arrow') || ['Home', 'End'].includes(event.key)) this.close();
  }
}
