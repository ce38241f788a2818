// Entry of the worker_thread that the guest blocks. Plain JavaScript: teaches the thread our TypeScript first.
import { register } from 'tsx/esm/api';

register();
await import('./container-thread.ts');
