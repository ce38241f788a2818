/** Why a container cannot be saved or resumed; the message is a sentence for its user. */
export type SaveErrorCode =
  /** it is something else than a saved container */
  | 'not-a-save'
  /** a later version of Portside wrote it */
  | 'too-new'
  /** cut off, altered, or made to harm */
  | 'damaged'
  /** it was made with another image, or with another version of it */
  | 'other-image'
  /** this image cannot be saved */
  | 'unsupported'
  /** no room to keep it */
  | 'no-room'
  /** no room in memory to make it */
  | 'out-of-memory'
  /** the container ended before it was saved */
  | 'ended'
  /** there is no saved container of that name */
  | 'not-found';

export class SaveError extends Error {
  readonly code: SaveErrorCode;

  constructor(code: SaveErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'SaveError';
    this.code = code;
  }
}

export function damaged(what: string): SaveError {
  return new SaveError('damaged', `The saved container is damaged: ${what}.`);
}
