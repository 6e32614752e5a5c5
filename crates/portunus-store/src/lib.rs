//! What must survive: the replay store and the grant journal.
