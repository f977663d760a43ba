//! Bad specs are rejected with the field's path, or shown in status with it; reverting recovers.
