/** The live example of portside/web: embed.html. */
import { byId } from '../page/dom.ts';
import { startContainer } from './portside.ts';

byId('run', HTMLButtonElement).addEventListener('click', () => void run());

async function run(): Promise<void> {
  const result = byId('result', HTMLOutputElement);
  result.textContent = 'Starting…';
  try {
    const container = await startContainer({ image: 'busybox', net: 'none' });
    container.write('echo $((6 * 7))\n');
    const [text] = await container.waitForText('42');
    result.textContent = `The container says ${text}.`;
    container.stop();
  } catch (error) {
    result.textContent = String(error);
  }
}
