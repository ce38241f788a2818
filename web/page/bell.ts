/** A program's bell: the edge of the terminal lights up, or a short tone. One at a time: a file of bells is no alarm. */
const FLASH_MS = 140;
const TONE_MS = 90;
const TONE_HZ = 660;
const TONE_VOLUME = 0.08;
/** least time between two, in ms */
const PAUSE_MS = 250;

let lastMs = -Infinity;
let audio: AudioContext | null = null;

export function ring(host: HTMLElement, bell: 'none' | 'flash' | 'sound'): void {
  const nowMs = performance.now();
  if (bell === 'none' || nowMs - lastMs < PAUSE_MS) return;
  lastMs = nowMs;
  if (bell === 'flash') flash(host);
  else beep();
}

function flash(host: HTMLElement): void {
  host.dataset['bell'] = '';
  setTimeout(() => { delete host.dataset['bell']; }, FLASH_MS);
}

/** Silent in a page that nobody has touched: browsers want it so. */
function beep(): void {
  audio ??= new AudioContext();
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  const endS = audio.currentTime + TONE_MS / 1000;
  tone.frequency.value = TONE_HZ;
  volume.gain.setValueAtTime(TONE_VOLUME, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.0001, endS);
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(endS);
}
