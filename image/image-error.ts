/**
 * What stops a build and is not our bug: a package that is missing, a mirror that can't be reached, a broken archive.
 * The message is for the person who typed `npm start`: what is missing, and what to do.
 */
export class ImageBuildError extends Error {
  override name = 'ImageBuildError';
}
