/** Guests of one network of several tabs: each has a seat, and MAC and address follow from it. */

/** .3 to .253 */
export const SEATS = 251;

/** Seat 0 has the MAC of a guest that is alone on its network. */
export function seatMac(seat: number): string {
  return `02:00:00:00:00:${(seat + 1).toString(16).padStart(2, '0')}`;
}
