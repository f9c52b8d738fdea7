"""Runs and agents on the Hugging Face Hub: what is downloaded, what is uploaded, the model card."""
