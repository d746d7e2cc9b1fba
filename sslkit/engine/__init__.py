"""Plain torch: one small trainer for pretraining and fine-tuning alike."""
