/*
 * The worker that owns the WebSocket, or the network that takes its place. Its event loop is free while the guest blocks another thread and the page draws.
 */
import { expose } from 'comlink';
import { Link } from './link.ts';

expose(new Link());
