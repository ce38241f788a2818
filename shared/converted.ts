/*
 * Archives of container images, from a page to its relay, which makes images of them. What both ends know:
 *
 *   GET    /api/converted            200 ConvertOffer; anything else: this server makes none
 *   POST   /api/converted?name=FILE  the archive as body; once all of it has come 200 and a ConvertNotice in each line, the last of them
 *                                    with `name` or `error`. Empty lines say that it goes on
 *   DELETE /api/converted/ID         204; `converted` of the manifest's entry is the ID
 *
 * Refusals have a status of their own and `{ error, message }`.
 */
export const CONVERTED_PATH = '/api/converted';

export interface ConvertOffer {
  /** largest archive, in `bytes` */
  maxBytes: number;
}

export type ConvertNotice =
  /** what is being done */
  | { step: string }
  /** done: the image's name in the manifest */
  | { name: string }
  | ConvertRefusal;

export interface ConvertRefusal {
  /** for programs */
  error: string;
  message: string;
}
