"""Work done after the answer: the queue, the worker, mail and the clean-ups."""
