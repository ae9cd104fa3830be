import { useMutation, type UseMutationResult, useQueryClient } from '@tanstack/react-query';

import { forgetAccount, sessionQuery } from '@/lib/session';

/** A request that begins a session. What was known of the one before is forgotten; then it is known who is here. */
export function useSignIn<Asked>(
  mutationFn: (asked: Asked) => Promise<unknown>,
): UseMutationResult<unknown, Error, Asked> {
  const queryClient = useQueryClient();
  return useMutation({
    mutationFn,
    meta: { signsIn: true },
    gcTime: 0, // it holds a password
    onSuccess: async () => {
      forgetAccount(queryClient);
      await queryClient.invalidateQueries({ queryKey: sessionQuery.queryKey });
    },
  });
}
