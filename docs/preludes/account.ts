@Service()
@JsonController()
class AccountController {
  @Get('/me')
  me(@SessionData { username }: UserSession) {
    return { username };
  }

  @Post('/logout')
  @OnUndefined(204)
  async logout(@CurrentSession() session: Session<UserSession>) {
    await session.end();
  }
}
