/** A setting that cannot work. The message names the environment variable and says what to write instead. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}
