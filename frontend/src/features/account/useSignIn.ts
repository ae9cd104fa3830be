import { useMutation, type UseMutationResult, useQueryClient } from '@tanstack/react-query';

import { sessionQuery } from '@/lib/session';

import { sessionsQuery } from './queries';

/** A request that begins a session. Once it is done it is known who is here. */
export function useSignIn<Asked>(
  mutationFn: (asked: Asked) => Promise<unknown>,
): UseMutationResult<unknown, Error, Asked> {
  const queryClient = useQueryClient();
  return useMutation({
    mutationFn,
    meta: { signsIn: true },
    gcTime: 0, // it holds a password
    onSuccess: async () => {
      void queryClient.invalidateQueries({ queryKey: sessionsQuery.queryKey });
      await queryClient.invalidateQueries({ queryKey: sessionQuery.queryKey });
    },
  });
}
