"""What an agent may type: judged by parsed shell words, each refusal with what to do instead."""
