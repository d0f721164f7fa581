"""The migrations, `mNNNN_SUBJECT`. A migration never changes after its release."""
