/**
 * The door to the appliance: composing one, and the pure decisions that simulators run.
 */
export { ApplianceConfigSchema, configProblems, type ApplianceConfig } from './config.ts';
