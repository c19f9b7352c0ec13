"""Bidirectional attention between a context and a question (BiDAF: Seo et al. 2017, equations 1 to 5).

    S_ij = w [c_i; q_j; c_i * q_j]        a_i = sum_j softmax_j(S_i) q_j        b = sum_i softmax_i(max_j S_ij) c_i
    G_i = [c_i; a_i; c_i * a_i; c_i * b]

Shapes: B batch, T words of the context, J words of the question, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentionFlow(nn.Module):
    """Attention flow layer: context (B, T, D) and question (B, J, D) -> (B, T, 4 D).

    Args:
        size: D.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        bound = (3.0 / size) ** 0.5
        self.of_context = nn.Parameter(torch.empty(size).uniform_(-bound, bound))
        self.of_question = nn.Parameter(torch.empty(size).uniform_(-bound, bound))
        self.of_product = nn.Parameter(torch.empty(size).uniform_(-bound, bound))

    def forward(
        self, context: Tensor, question: Tensor, context_mask: Tensor, question_mask: Tensor
    ) -> Tensor:
        """Return G (B, T, 4 D); the masks (B, T) and (B, J) are true at words, of which each row has at least one."""
        # w is split into three parts, so that [c; q; c * q] is never built: S is (B, T, J)
        scores = torch.bmm(context * self.of_product.to(context.dtype), question.transpose(1, 2)).float()
        scores = scores + (context @ self.of_context.to(context.dtype)).float()[:, :, None]
        scores = scores + (question @ self.of_question.to(question.dtype)).float()[:, None, :]
        scores = scores.masked_fill(~question_mask[:, None, :], -torch.inf)
        to_question = torch.bmm(torch.softmax(scores, dim=2).to(question.dtype), question)  # a: (B, T, D)
        highest = scores.amax(2).masked_fill(~context_mask, -torch.inf)
        # b: (B, 1, D)
        to_context = torch.bmm(torch.softmax(highest, dim=1)[:, None].to(context.dtype), context)
        return torch.cat([context, to_question, context * to_question, context * to_context], dim=2)
