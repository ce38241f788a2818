/**
 * What `listen` offers around its network, by flags: gvproxy's API on sockets of its own, a configuration file, and
 * notifications to a supervisor.
 *
 *   const services = new Services(parseServices(flags), log);
 *   const listening = await services.watching(() => openNetwork(spec, services.configure(options, given)));
 *   await services.open(listening.network); … await services.close();
 */
import { readFileSync } from 'node:fs';
import type { ForwardSpec, VirtualNetwork } from '../../shared/net/services/network.ts';
import type { NetworkConfig } from '../../shared/net/services/network-config.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { parseServicesSpec, serveNetworkApi, type ServingApi } from '../api/serve-network-api.ts';
import type { Descriptors } from '../descriptors.ts';
import { Notifier } from '../host/notifier.ts';
import type { Log, LogFormat } from '../log.ts';
import { parseNetworkFile, type NetworkFile } from '../network-file.ts';
import { parseLogFormat } from './flags.ts';

export interface ServicesCommand {
  services: string[];
  /** file, or null */
  config: string | null;
  /** path of a supervisor's UNIX socket, or null */
  notification: string | null;
  logFormat: LogFormat;
}

/** Throws RELAY_BAD_FLAG. */
export function parseServices(flags: { services?: string[]; config?: string; notification?: string; 'log-format'?: string }): ServicesCommand {
  for (const spec of flags.services ?? []) {
    try {
      parseServicesSpec(spec);
    } catch (error) {
      throw error instanceof RelayError ? new RelayError('RELAY_BAD_FLAG', `--services: ${error.message}`) : error;
    }
  }
  return { services: flags.services ?? [], config: flags.config ?? null, notification: flags.notification ?? null, logFormat: parseLogFormat(flags['log-format']) };
}

const NO_FILE: NetworkFile = { config: {}, forwards: [], ignored: [] };

export class Services {
  /** where the API listens, with the ports really bound */
  readonly specs: string[] = [];
  readonly #command: ServicesCommand;
  readonly #log: Log;
  readonly #descriptors: Descriptors | undefined;
  readonly #notifier: Notifier | null;
  readonly #apis: ServingApi[] = [];

  constructor(command: ServicesCommand, log: Log, descriptors?: Descriptors) {
    this.#command = command;
    this.#descriptors = descriptors;
    this.#log = log;
    this.#notifier = command.notification === null ? null : new Notifier(command.notification, (subject, text) => log.once('notification', subject, text));
  }

  /** `options` with what the configuration file says: it wins over defaults, loses to what was `given`, and adds its forwards. Throws RELAY_CONFIG. */
  configure<T extends { config?: Partial<NetworkConfig>; forwards?: readonly ForwardSpec[] }>(options: T, given: Partial<NetworkConfig> = {}): T {
    const path = this.#command.config;
    const { config, forwards, ignored } = path === null ? NO_FILE : readNetworkFile(path);
    if (ignored.length > 0) this.#log.info(`${path}: no meaning here: ${ignored.join(', ')}`);
    return { ...options, config: { ...options.config, ...config, ...given }, forwards: [...options.forwards ?? [], ...forwards] };
  }

  /** Runs what opens the socket for guests. When that can't be had, the supervisor hears of it too. */
  async watching<T>(open: () => Promise<T>): Promise<T> {
    try {
      return await open();
    } catch (error) {
      if (error instanceof RelayError && error.code === 'RELAY_LISTEN') this.#notifier?.send('hypervisor_error');
      await this.#notifier?.close();
      throw error;
    }
  }

  /** The network listens: opens the API, and says that guests may come. Rejects with RELAY_LISTEN, everything closed again. */
  async open(network: VirtualNetwork): Promise<void> {
    try {
      for (const spec of this.#command.services) {
        const api = await serveNetworkApi(network, spec, this.#log, this.#descriptors);
        this.#apis.push(api);
        this.specs.push(api.spec);
      }
    } catch (error) {
      await this.close();
      throw error;
    }
    this.#notifier?.watch(network);
    this.#notifier?.send('ready');
  }

  /** Idempotent. After the network was closed, so that guests that leave with it are told of. */
  async close(): Promise<void> {
    await Promise.all(this.#apis.splice(0).map((api) => api.close()));
    await this.#notifier?.close();
  }
}

function readNetworkFile(path: string): NetworkFile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new RelayError('RELAY_CONFIG', `can't read ${path}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
  return parseNetworkFile(text);
}
