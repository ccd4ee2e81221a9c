"""The methods that train a student."""

from typing import Literal

Control = Literal["answer_only", "single_cot", "rejection", "majority"]
Method = Literal["rsft", "da", "pad", "answer_only", "single_cot", "rejection", "majority"]
