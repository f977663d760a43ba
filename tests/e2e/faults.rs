//! What fails is replaced, and nothing is replaced in a hurry without end.
