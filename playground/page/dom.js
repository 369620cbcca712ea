// Elements of the page, and what buttons and results have in common.

export const at = id => document.getElementById(id);

export function element(tag, className = '', text = undefined) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Runs `work` for a button's click or a form's submission. The button is busy meanwhile, and keeps the focus. */
export function onAction(target, work) {
  const button = target.matches('form') ? target.querySelector('button') : target;
  target.addEventListener(target === button ? 'click' : 'submit', async event => {
    event.preventDefault();
    if (button.getAttribute('aria-busy') === 'true') return;
    button.setAttribute('aria-busy', 'true');
    try {
      await work();
    } finally {
      button.removeAttribute('aria-busy');
    }
  });
}

/** Shows a step's result. `kind` is `good`, `bad`, or empty. */
export function say(step, text, kind = '') {
  const result = at(`${step}-result`);
  result.textContent = text;
  result.dataset.kind = kind;
}

/** Shows a message above the steps for a while. */
export function notify(text) {
  const notice = at('notice');
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(notify.timer);
  notify.timer = setTimeout(() => (notice.hidden = true), 8000);
}

/** A row of a list of facts. `note` explains the value. */
export function fact(name, value, note) {
  const row = element('div');
  const description = element('dd');
  description.append(value);
  if (note) description.append(element('span', 'note', note));
  row.append(element('dt', '', name), description);
  return row;
}

/** Hours, minutes and seconds, at least minutes. */
export function duration(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const pad = number => String(number).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

export const clockTime = date =>
  new Date(date).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
