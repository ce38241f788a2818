/** A number and a button: shows a port of the container, where the network is this page's. */
import { make } from './dom.ts';

export function portForm(show: (port: number) => void): HTMLElement {
  const input = make('input', 'port-number');
  input.type = 'number';
  input.min = '1';
  input.max = '65535';
  input.value = '80';
  input.required = true;
  const label = make('label', '', 'Port ', input);
  const button = make('button', 'button', 'Show');
  button.type = 'submit';
  const form = make('form', 'port-form', label, ' ', button);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    show(input.valueAsNumber);
  });
  return form;
}
