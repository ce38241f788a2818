/*
 * portside/web: containers for other people's pages. Built as `dist/web/portside.js`, beside the page and its workers.
 *
 *     import { startContainer } from './portside/portside.js';      // defines <portside-terminal> as well
 *     const container = await startContainer({ image: 'busybox', net: 'none' });
 *     container.write('uname -m\n');
 *     await container.waitForText('riscv64');
 *
 * It must lie on the page's own origin (a browser starts no workers of another one), and the page must be isolated: COOP and COEP.
 */
import { Container, type ContainerState, type StartOptions } from './container.ts';
import { PortsideTerminal } from './element.ts';

export type { Container, ContainerState, StartOptions };
export type { AddressLease, DnsQuery, Flow, NetworkApi, OpenPort } from '../page/network-api.ts';
export type { ListeningPort } from '../../shared/wasi/ports-report.ts';

/** Resolves with the container when it has shown its first output; rejects with an Error that says what is wrong. */
export async function startContainer(options: StartOptions = {}): Promise<Container> {
  const container = new Container(options);
  await container.ready;
  return container;
}

// Two copies of this module on one page are no error.
if (customElements.get('portside-terminal') === undefined) customElements.define('portside-terminal', PortsideTerminal);
