/** The version of this package, which OpenTelemetry shows beside its name. A test compares it with package.json. */
export const VERSION = '0.1.0';
