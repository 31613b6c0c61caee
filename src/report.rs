//! What a run did, for every node and image. Pure.
