"""The stack of a booking: Pulumi resources per host and role, their provider, and the engine that drives both."""
