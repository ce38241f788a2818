/** The page's elements: those of index.html by id, and new ones made here. */

/** The element `id` of index.html, which must be a `kind`: anything else is our own bug. */
export function byId<T extends HTMLElement>(id: string, kind: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`index.html has no ${kind.name} #${id}`);
  return element;
}

/** A new element with a class and children; strings become text, never markup. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, className: string, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  element.append(...children);
  return element;
}

/** A field for a line that is no prose: nothing completes, corrects or capitalizes it. */
export function makeTextField(properties: Partial<Pick<HTMLInputElement, 'id' | 'value' | 'placeholder' | 'required' | 'inputMode' | 'maxLength' | 'pattern'>>): HTMLInputElement {
  return Object.assign(make('input', 'text-input'), { type: 'text', autocapitalize: 'none', autocomplete: 'off', spellcheck: false, ...properties } as const);
}

/** A field under its label, and a button that Enter presses as well. */
export function makeFieldForm(label: string, field: HTMLInputElement, button: HTMLButtonElement, onSubmit: () => void): HTMLFormElement {
  const words = make('label', 'field-label', label);
  words.htmlFor = field.id;
  button.type = 'submit';
  const form = make('form', '', words, make('div', 'url-form', field, button));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    onSubmit();
  });
  return form;
}

/** One of the symbols of index.html, for decoration only. */
export function icon(name: string, className = 'icon'): SVGSVGElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', className);
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

export function makeButton(text: string, className: string, onClick: () => void): HTMLButtonElement {
  const button = make('button', className, text);
  button.type = 'button';
  button.addEventListener('click', onClick);
  return button;
}

/** Sets the text if it differs: assigning the same text again would still make work for layout and screen readers. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
